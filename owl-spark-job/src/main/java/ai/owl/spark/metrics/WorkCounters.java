package ai.owl.spark.metrics;

import com.codahale.metrics.Meter;
import java.io.Serializable;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.concurrent.atomic.LongAdder;
import org.apache.spark.SparkContext;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.LongAccumulator;

/**
 * Counts what the tasks of an application have done: as named accumulators, which the driver sums
 * up and Spark shows with every stage, and for {@link OwlMetricsPlugin} by process.
 *
 * <p>What is done again, because an executor was lost or a second copy of a slow task ran, counts
 * again: this is work, not progress.
 */
public final class WorkCounters implements Serializable {
  private static final long serialVersionUID = 1;

  /** What this process has done. */
  static final Meter PROCESS_TOKENS = new Meter();

  static final LongAdder PROCESS_BLOCKS = new LongAdder();
  static final LongAdder PROCESS_ZEROS = new LongAdder();

  /** On the driver; null before the first run. */
  private static SparkContext application;

  private static Sums sums;

  private final Sums all;
  private final ProductsAccumulator products;

  /** Of all runs of an application. */
  private record Sums(LongAccumulator tokens, LongAccumulator blocks, LongAccumulator zeros)
      implements Serializable {}

  private WorkCounters(Sums all, ProductsAccumulator products) {
    this.all = all;
    this.products = products;
  }

  /**
   * The counters of a Spark application, on its driver; they go on from run to run, but for {@link
   * #products}.
   */
  public static synchronized WorkCounters of(JavaSparkContext spark) {
    if (application != spark.sc()) {
      sums =
          new Sums(
              spark.sc().longAccumulator("owl: tokens through blocks"),
              spark.sc().longAccumulator("owl: blocks done"),
              spark.sc().longAccumulator("owl: weights removed"));
      application = spark.sc();
    }
    ProductsAccumulator products = new ProductsAccumulator();
    spark.sc().register(products);
    return new WorkCounters(sums, products);
  }

  /** A task begins to run sequences through a block, or to solve what was seen there. */
  public void productsBy(String implementation) {
    String machine = SparkEnv.get().blockManager().blockManagerId().host();
    products.add(new ProductsAccumulator.Seen(implementation, machine));
  }

  /** What finished tasks have made products by: by implementation the machines, in order. */
  public SortedMap<String, SortedSet<String>> products() {
    return products.value();
  }

  /** So many tokens, or patches of an image, went through one block. */
  public void throughBlock(long count) {
    all.tokens().add(count);
    PROCESS_TOKENS.mark(count);
  }

  /** A block is done with, in one of the passes or jobs that a run consists of. */
  public void blockDone() {
    all.blocks().add(1);
    PROCESS_BLOCKS.increment();
  }

  /** So many weights of a linear layer that was pruned are zero. */
  public void removed(long count) {
    all.zeros().add(count);
    PROCESS_ZEROS.add(count);
  }

  /** What finished tasks of the application report to the driver; 0 before the first run. */
  static synchronized long allTokens() {
    return sums == null ? 0 : sums.tokens().value();
  }

  static synchronized long allBlocks() {
    return sums == null ? 0 : sums.blocks().value();
  }

  static synchronized long allZeros() {
    return sums == null ? 0 : sums.zeros().value();
  }
}
