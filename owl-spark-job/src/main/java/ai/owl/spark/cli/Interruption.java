package ai.owl.spark.cli;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * Knows when the process was told to end (Ctrl-C, a scheduler's SIGTERM). Spark then stops under
 * the run, which fails in many words that say nothing to anybody.
 */
final class Interruption {
  private static final PrintStream ERR = System.err;
  private static volatile boolean underWay;
  private static volatile boolean byTask;

  private Interruption() {}

  static void watch() {
    Runtime.getRuntime().addShutdownHook(new Thread(Interruption::begin, "owl-interruption"));
  }

  static boolean isUnderWay() {
    return underWay;
  }

  /** Says the last word of a process that is told to end, if it has not been said. */
  static void say(String message) {
    if (!byTask) {
      ERR.println(message);
    }
  }

  private static void begin() {
    // Whoever ends a process waits there until these hooks are done.
    byTask =
        Thread.getAllStackTraces().values().stream()
            .flatMap(Arrays::stream)
            .anyMatch(frame -> frame.getClassName().contains("SparkUncaughtExceptionHandler"));
    if (byTask) {
      // Nobody told the process to end: Spark ends one in which a task had no more memory, or met
      // an error as grave, often before the command finds out which.
      ERR.println(
          Main.problem(
              Main.outOfMemory(" for a task, or an error as grave (--verbose shows which)")));
    }
    underWay = true;
    Configurator.setAllLevels("", Level.OFF);
    // Threads of Spark's that find their pool closed print that past every log.
    System.setErr(new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8));
  }
}
