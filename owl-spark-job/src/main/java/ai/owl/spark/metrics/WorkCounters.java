package ai.owl.spark.metrics;

import com.codahale.metrics.Meter;
import java.io.Serializable;
import java.util.concurrent.atomic.LongAdder;
import org.apache.spark.SparkContext;
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

  private static WorkCounters counters;

  private final LongAccumulator tokens;
  private final LongAccumulator blocks;
  private final LongAccumulator zeros;

  private WorkCounters(LongAccumulator tokens, LongAccumulator blocks, LongAccumulator zeros) {
    this.tokens = tokens;
    this.blocks = blocks;
    this.zeros = zeros;
  }

  /** The counters of a Spark application, on its driver; they go on from run to run. */
  public static synchronized WorkCounters of(JavaSparkContext spark) {
    if (application != spark.sc()) {
      counters =
          new WorkCounters(
              spark.sc().longAccumulator("owl: tokens through blocks"),
              spark.sc().longAccumulator("owl: blocks done"),
              spark.sc().longAccumulator("owl: weights removed"));
      application = spark.sc();
    }
    return counters;
  }

  /** So many tokens, or patches of an image, went through one block. */
  public void throughBlock(long count) {
    tokens.add(count);
    PROCESS_TOKENS.mark(count);
  }

  /** A block is done with, in one of the passes or jobs that a run consists of. */
  public void blockDone() {
    blocks.add(1);
    PROCESS_BLOCKS.increment();
  }

  /** So many weights of a linear layer that was pruned are zero. */
  public void removed(long count) {
    zeros.add(count);
    PROCESS_ZEROS.add(count);
  }

  /** What finished tasks of the application report to the driver; 0 before the first run. */
  static synchronized long allTokens() {
    return counters == null ? 0 : counters.tokens.value();
  }

  static synchronized long allBlocks() {
    return counters == null ? 0 : counters.blocks.value();
  }

  static synchronized long allZeros() {
    return counters == null ? 0 : counters.zeros.value();
  }
}
