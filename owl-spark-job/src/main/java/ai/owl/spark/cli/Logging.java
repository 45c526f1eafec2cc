package ai.owl.spark.cli;

import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * How much of Spark's log is shown. By default none of it: a failed task is reported in one message
 * by us, and Spark would print its stack trace several times before that. Under {@code --verbose},
 * and wherever somebody configured Log4j himself, it is left as it is.
 */
final class Logging {
  private Logging() {}

  static void configure(boolean verbose) {
    if (System.getProperty("log4j2.configurationFile") != null
        || System.getProperty("log4j.configurationFile") != null) {
      return;
    }
    Configurator.setRootLevel(verbose ? Level.INFO : Level.OFF);
    for (String spark :
        new String[] {"org.apache.spark", "org.apache.hadoop", "org.nd4j", "org.sparkproject"}) {
      Configurator.setLevel(spark, verbose ? Level.INFO : Level.OFF);
    }
  }
}
