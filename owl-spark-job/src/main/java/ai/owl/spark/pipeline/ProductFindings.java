package ai.owl.spark.pipeline;

import ai.owl.kernel.Compute;
import java.util.Optional;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.StringJoiner;

/**
 * What a user should know of the executors' products: the driver's processor says nothing of
 * theirs, and executors of several kinds may give the same run other bits each time.
 */
final class ProductFindings {
  private static final int MACHINES = 3; // named at most

  private ProductFindings() {}

  /**
   * What there is to say, if anything.
   *
   * @param driver what the driver would make products by, as it has said
   * @param seen by what executors make products by, their machines
   */
  static Optional<String> of(String driver, SortedMap<String, SortedSet<String>> seen) {
    StringJoiner ways = new StringJoiner("; ");
    seen.forEach((way, machines) -> ways.add(way + " on " + names(machines)));
    if (seen.size() > 1) {
      return Optional.of(
          "executors make products in "
              + seen.size()
              + " ways: "
              + ways
              + ". Which task runs where decides the last bits then, and the same command need not"
              + " give the same bytes twice; machines of one kind do");
    }
    if (seen.size() == 1 && !seen.firstKey().startsWith(driver + Compute.ON)) {
      return Optional.of("executors make products otherwise than this driver: " + ways);
    }
    return Optional.empty();
  }

  private static String names(SortedSet<String> machines) {
    StringJoiner names = new StringJoiner(", ");
    machines.stream().limit(MACHINES).forEach(names::add);
    int others = machines.size() - MACHINES;
    return others > 0 ? names + " and " + others + " more" : names.toString();
  }
}
