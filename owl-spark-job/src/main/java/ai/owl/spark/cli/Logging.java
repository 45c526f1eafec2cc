package ai.owl.spark.cli;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * How much of Spark's log an embedded run shows. By default none of it: a failed task is reported
 * in one message by us, and Spark would print its stack trace several times before that. Under
 * {@code --verbose}, behind spark-submit, and wherever somebody configured Log4j himself, the log
 * is left as it is.
 */
final class Logging {
  private Logging() {}

  static void configure(boolean verbose) {
    boolean configured =
        System.getProperty("log4j2.configurationFile") != null
            || System.getProperty("log4j.configurationFile") != null;
    boolean submitted = System.getProperty("spark.master") != null;
    if (configured || submitted) {
      return;
    }
    Configurator.setRootLevel(verbose ? Level.INFO : Level.OFF);
    for (String noisy :
        new String[] {"org.apache.spark", "org.apache.hadoop", "org.nd4j", "org.sparkproject"}) {
      Configurator.setLevel(noisy, verbose ? Level.INFO : Level.OFF);
    }
  }
}
