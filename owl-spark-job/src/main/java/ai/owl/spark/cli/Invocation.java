package ai.owl.spark.cli;

import ai.owl.spark.report.Provenance;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.api.java.JavaSparkContext;

/** How this process was called: what a report needs so that somebody can do it again. */
final class Invocation {
  private static volatile List<String> arguments = List.of();
  private static volatile Instant started = Instant.EPOCH;

  private Invocation() {}

  static void begin(String... args) {
    arguments = List.of(args);
    started = Instant.now().truncatedTo(ChronoUnit.SECONDS);
  }

  /**
   * @param inputs what was read and how, defaults included
   */
  static Provenance provenance(JavaSparkContext spark, Map<String, Object> inputs) {
    List<String> command = new ArrayList<>(List.of("submit/owl"));
    command.addAll(arguments);
    if (System.getProperty("spark.master") != null) {
      command.addAll(List.of("--", "--master", spark.master()));
    }
    Map<String, Object> all = new LinkedHashMap<>(inputs);
    all.put("started", started.toString());
    Map<String, String> versions = new LinkedHashMap<>();
    String ours = Main.class.getPackage().getImplementationVersion();
    versions.put("owl-spark", ours == null ? "(not packaged)" : ours);
    versions.put("Spark", spark.version());
    versions.put("Java", System.getProperty("java.version"));
    versions.put("OS", System.getProperty("os.name") + " " + System.getProperty("os.version"));
    return new Provenance(command, all, versions);
  }
}
