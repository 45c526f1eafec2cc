package ai.owl.spark.cli;

import ai.owl.kernel.Blas;
import ai.owl.kernel.Compute;
import ai.owl.kernel.RowCode;
import ai.owl.spark.pipeline.OwlKryoRegistrator;
import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.SparkSession;

/** Makes the Spark session of a command. */
final class SparkContexts {
  /** What a command computes with that runs sequences through pruned models. */
  static final List<RowCode.Group> PRUNED_MODELS =
      List.of(RowCode.Group.FORWARD, RowCode.Group.SELECTION, RowCode.Group.SPARSE);

  private SparkContexts() {}

  /**
   * A session with what the pipeline needs. Where spark-submit set no master, which it always does,
   * the command runs in this process on all cores, without Spark's pages.
   *
   * @param code what the command computes with, in the order in which it does
   */
  static SparkSession open(String name, List<RowCode.Group> code, Compute compute) {
    SparkConf conf = new SparkConf();
    OwlKryoRegistrator.configure(conf);
    conf.setIfMissing("spark.app.name", "owl " + name);
    if (!conf.contains("spark.master")) {
      loadKernels(code, compute);
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
  private static void loadKernels(List<RowCode.Group> code, Compute compute) {
    Thread loading =
        new Thread(
            () -> {
              try {
                RowCode.prepare(code, compute);
                Blas.threads();
                compute.implementation();
              } catch (LinkageError | OutOfMemoryError | RuntimeException e) {
                // Whoever computes first meets it himself, and reports it.
              }
            },
            "owl-load-kernels");
    loading.setDaemon(true);
    loading.start();
  }
}
