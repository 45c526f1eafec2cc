package ai.owl.spark.pipeline;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.StringJoiner;

/**
 * What a user should know of the executors' products, each finding once: the driver's processor
 * says nothing of theirs, and executors of several kinds give the same run other bits each time.
 */
final class ProductFindings {
  private static final int MACHINES = 3; // named at most

  private final Set<String> told = new HashSet<>();

  /**
   * What is new.
   *
   * @param driver what the driver would make products by, as it has said
   * @param seen by what executors make products by, their machines
   */
  List<String> findings(String driver, SortedMap<String, ? extends SortedSet<String>> seen) {
    List<String> findings = new ArrayList<>();
    StringJoiner ways = new StringJoiner("; ");
    seen.forEach((way, machines) -> ways.add(way + " on " + names(machines)));
    if (seen.size() > 1 && told.add("ways of " + seen.size())) {
      findings.add(
          "executors make products in "
              + seen.size()
              + " ways: "
              + ways
              + ". Which task runs where decides the last bits then, and the same command need not give"
              + " the same bytes twice; machines of one kind do");
    } else if (seen.size() == 1 && !seen.containsKey(driver) && told.add("another")) {
      findings.add("executors make products otherwise than this driver: " + ways);
    }
    return findings;
  }

  private static String names(SortedSet<String> machines) {
    StringJoiner names = new StringJoiner(", ");
    machines.stream().limit(MACHINES).forEach(names::add);
    int others = machines.size() - MACHINES;
    return others > 0 ? names + " and " + others + " more" : names.toString();
  }
}
