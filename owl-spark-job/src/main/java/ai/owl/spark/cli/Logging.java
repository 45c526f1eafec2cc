package ai.owl.spark.cli;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * How much of Spark's log a run shows. By default none of it: a failed task is reported in one
 * message by us, and Spark would print its stack trace several times before that. Behind
 * spark-submit on a terminal warnings are shown, in cluster deploy mode, where the log is all there
 * is, everything. Wherever somebody configured Log4j himself, the log is left as it is.
 */
final class Logging {
  private static final String[] NOISY = {
    "org.apache.spark", "org.apache.hadoop", "org.nd4j", "org.sparkproject"
  };

  private Logging() {}

  static void configure(boolean verbose) {
    boolean configured =
        System.getProperty("log4j2.configurationFile") != null
            || System.getProperty("log4j.configurationFile") != null;
    boolean submitted = System.getProperty("spark.master") != null;
    boolean cluster = "cluster".equals(System.getProperty("spark.submit.deployMode"));
    if (configured || submitted && (verbose || cluster || !isSparksOwn())) {
      return;
    }
    Level level = verbose ? Level.INFO : submitted ? Level.WARN : Level.OFF;
    Configurator.setRootLevel(level);
    for (String noisy : NOISY) {
      Configurator.setLevel(noisy, level);
    }
  }

  /** Whether nobody put a log4j2.properties into Spark's conf folder. */
  private static boolean isSparksOwn() {
    return LogManager.getContext(false) instanceof LoggerContext context
        && String.valueOf(context.getConfiguration().getConfigurationSource().getLocation())
            .contains("org/apache/spark/log4j2-defaults");
  }
}
