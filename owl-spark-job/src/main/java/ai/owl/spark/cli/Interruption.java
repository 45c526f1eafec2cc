package ai.owl.spark.cli;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * Knows when the process was told to end (Ctrl-C, a scheduler's SIGTERM). Spark then stops under
 * the run, which fails in many words that say nothing to anybody.
 */
final class Interruption {
  private static final PrintStream ERR = System.err;
  private static volatile boolean underWay;

  private Interruption() {}

  static void watch() {
    Runtime.getRuntime().addShutdownHook(new Thread(Interruption::begin, "owl-interruption"));
  }

  static boolean isUnderWay() {
    return underWay;
  }

  /** Says the last word of a process that is told to end. */
  static void say(String message) {
    ERR.println(message);
  }

  private static void begin() {
    underWay = true;
    Configurator.setAllLevels("", Level.OFF);
    // Threads of Spark's that find their pool closed print that past every log.
    System.setErr(new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8));
  }
}
