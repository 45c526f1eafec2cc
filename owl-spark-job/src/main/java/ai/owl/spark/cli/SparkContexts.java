package ai.owl.spark.cli;

import ai.owl.kernel.Blas;
import ai.owl.kernel.Compute;
import ai.owl.kernel.RowCode;
import ai.owl.spark.pipeline.OwlKryoRegistrator;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.SparkSession;

/** Makes the Spark session of a command. */
final class SparkContexts {
  private SparkContexts() {}

  /**
   * A session with what the pipeline needs. Where spark-submit set no master, which it always does,
   * the command runs in this process on all cores, without Spark's pages.
   */
  static SparkSession open(String name) {
    SparkConf conf = new SparkConf();
    OwlKryoRegistrator.configure(conf);
    conf.setIfMissing("spark.app.name", "owl " + name);
    if (!conf.contains("spark.master")) {
      loadKernels();
      conf.set("spark.master", "local[*]");
      conf.setIfMissing("spark.ui.enabled", "false");
      conf.setIfMissing("spark.driver.host", "127.0.0.1");
      conf.setIfMissing("spark.driver.bindAddress", "127.0.0.1");
    }
    return SparkSession.builder().config(conf).getOrCreate();
  }

  /**
   * The native libraries take as long to load as a session to start, and the vector code to
   * compile: all at once.
   */
  private static void loadKernels() {
    Thread loading =
        new Thread(
            () -> {
              try {
                RowCode.prepare();
                Blas.threads();
                Compute.FLOAT32.implementation();
              } catch (LinkageError | RuntimeException e) {
                // Whoever computes first meets it himself, and reports it.
              }
            },
            "owl-load-kernels");
    loading.setDaemon(true);
    loading.start();
  }
}
