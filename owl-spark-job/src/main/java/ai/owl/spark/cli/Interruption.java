package ai.owl.spark.cli;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * Knows when the process was told to end (Ctrl-C, a scheduler's SIGTERM). Spark then stops under
 * the run, which fails in many words that say nothing to anybody.
 */
final class Interruption {
  private static volatile boolean underWay;

  private Interruption() {}

  static void watch() {
    Runtime.getRuntime().addShutdownHook(new Thread(Interruption::begin, "owl-interruption"));
  }

  static boolean isUnderWay() {
    return underWay;
  }

  private static void begin() {
    underWay = true;
    Configurator.setAllLevels("", Level.OFF);
  }
}
