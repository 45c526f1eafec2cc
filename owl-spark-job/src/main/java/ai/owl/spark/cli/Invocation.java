package ai.owl.spark.cli;

import ai.owl.spark.report.Provenance;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.api.java.JavaSparkContext;

/** How this process was called: what a report needs so that somebody can do it again. */
final class Invocation {
  private static volatile List<String> arguments = List.of();

  private Invocation() {}

  static void begin(String... args) {
    arguments = List.of(args);
  }

  static Provenance provenance(JavaSparkContext spark) {
    List<String> command = new java.util.ArrayList<>(List.of("submit/owl"));
    command.addAll(arguments);
    if (System.getProperty("spark.master") != null) {
      command.addAll(List.of("--", "--master", spark.master()));
    }
    Map<String, String> versions = new LinkedHashMap<>();
    String ours = Main.class.getPackage().getImplementationVersion();
    versions.put("owl-spark", ours == null ? "(not packaged)" : ours);
    versions.put("Spark", spark.version());
    versions.put("Java", System.getProperty("java.version"));
    versions.put("OS", System.getProperty("os.name") + " " + System.getProperty("os.version"));
    return new Provenance(command, versions);
  }
}
