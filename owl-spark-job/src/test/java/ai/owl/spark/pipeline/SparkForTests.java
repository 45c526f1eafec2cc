package ai.owl.spark.pipeline;

import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/** Sessions of tests: without pages, and on no network but this machine's own. */
final class SparkForTests {
  private SparkForTests() {}

  /** Two slots in this process; a task that fails is not tried again. */
  static JavaSparkContext start(Class<?> test) {
    return new JavaSparkContext(conf(test, "local[2]"));
  }

  /** Settings, for some master and with what the pipeline needs. */
  static SparkConf conf(Class<?> test, String master) {
    SparkConf conf =
        new SparkConf()
            .setMaster(master)
            .setAppName(test.getSimpleName())
            .set("spark.ui.enabled", "false")
            .set("spark.driver.host", "127.0.0.1")
            .set("spark.driver.bindAddress", "127.0.0.1");
    OwlKryoRegistrator.configure(conf);
    return conf;
  }
}
