package ai.owl.spark.report;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How a result came about, so that anyone can make it again.
 *
 * @param commandLine the exact command, one word an entry, not quoted
 * @param versions of what ran, such as owl-spark, Spark, Java and the operating system; shown in
 *     the map's own order
 */
public record Provenance(List<String> commandLine, Map<String, String> versions) {
  public Provenance {
    commandLine = List.copyOf(commandLine);
    versions = Collections.unmodifiableMap(new LinkedHashMap<>(versions));
  }
}
