package ai.owl.spark.metrics;

import java.io.IOException;
import java.io.ObjectOutputStream;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.spark.util.AccumulatorV2;

/**
 * What products were made by, and on which machines.
 *
 * <p>Heartbeats ask for it, and serialize it, while its task adds; and they may ask before it is
 * read from a task's bytes, since Spark makes an accumulator known when it begins to read it. What
 * fails then takes the executor's heartbeat away, and with it the executor.
 */
final class ProductsAccumulator
    extends AccumulatorV2<ProductsAccumulator.Seen, SortedMap<String, SortedSet<String>>> {
  private static final long serialVersionUID = 1;

  /** Null until something is added, and while this is being read. */
  private TreeMap<String, SortedSet<String>> machines;

  /**
   * One task's word.
   *
   * @param products what it makes them by
   * @param machine its host
   */
  record Seen(String products, String machine) {}

  @Override
  public synchronized void add(Seen seen) {
    if (machines == null) {
      machines = new TreeMap<>();
    }
    machines.computeIfAbsent(seen.products(), any -> new TreeSet<>()).add(seen.machine());
  }

  @Override
  public synchronized boolean isZero() {
    return machines == null;
  }

  @Override
  public synchronized void reset() {
    machines = null;
  }

  @Override
  public void merge(AccumulatorV2<Seen, SortedMap<String, SortedSet<String>>> other) {
    other
        .value()
        .forEach((products, hosts) -> hosts.forEach(host -> add(new Seen(products, host))));
  }

  @Override
  public ProductsAccumulator copy() {
    ProductsAccumulator copy = new ProductsAccumulator();
    copy.merge(this);
    return copy;
  }

  /** Machines by what they make products by. */
  @Override
  public synchronized SortedMap<String, SortedSet<String>> value() {
    TreeMap<String, SortedSet<String>> all = new TreeMap<>();
    if (machines != null) {
      machines.forEach((products, hosts) -> all.put(products, new TreeSet<>(hosts)));
    }
    return all;
  }

  private synchronized void writeObject(ObjectOutputStream out) throws IOException {
    out.defaultWriteObject();
  }
}
