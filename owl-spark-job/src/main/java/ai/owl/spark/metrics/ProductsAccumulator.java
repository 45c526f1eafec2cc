package ai.owl.spark.metrics;

import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.spark.util.AccumulatorV2;

/** What products were made by, and on which machines. Read by heartbeats while a task adds. */
final class ProductsAccumulator
    extends AccumulatorV2<
        ProductsAccumulator.Seen, SortedMap<String, ? extends SortedSet<String>>> {
  private static final long serialVersionUID = 1;

  private final TreeMap<String, TreeSet<String>> machines = new TreeMap<>();

  /**
   * One task's word.
   *
   * @param implementation what it makes products by
   * @param machine its host
   */
  record Seen(String implementation, String machine) {}

  @Override
  public synchronized void add(Seen seen) {
    machines.computeIfAbsent(seen.implementation(), any -> new TreeSet<>()).add(seen.machine());
  }

  @Override
  public synchronized boolean isZero() {
    return machines.isEmpty();
  }

  @Override
  public synchronized void reset() {
    machines.clear();
  }

  @Override
  public void merge(AccumulatorV2<Seen, SortedMap<String, ? extends SortedSet<String>>> other) {
    other
        .value()
        .forEach(
            (implementation, hosts) -> hosts.forEach(host -> add(new Seen(implementation, host))));
  }

  @Override
  public ProductsAccumulator copy() {
    ProductsAccumulator copy = new ProductsAccumulator();
    copy.merge(this);
    return copy;
  }

  /** Machines by what they make products by. */
  @Override
  public synchronized SortedMap<String, TreeSet<String>> value() {
    TreeMap<String, TreeSet<String>> all = new TreeMap<>();
    machines.forEach((implementation, hosts) -> all.put(implementation, new TreeSet<>(hosts)));
    return all;
  }
}
