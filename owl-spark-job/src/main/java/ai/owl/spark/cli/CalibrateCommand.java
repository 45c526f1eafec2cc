package ai.owl.spark.cli;

import ai.owl.calibration.Samples;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.kernel.RowCode;
import ai.owl.model.ModelLayout;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.pipeline.StatisticsStore;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.TokenInput;
import java.util.List;
import java.util.concurrent.Callable;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code owl calibrate}: one pass through the dense model, kept for everything after it. */
@Command(
    name = "calibrate",
    description =
        "Measures the dense model once and keeps what allocate, prune and sweep look for with the"
            + " same --statistics.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class CalibrateCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "URI",
      description = "Folder of the checkpoint.")
  private String model;

  @Option(
      names = "--calibration",
      required = true,
      split = ",",
      paramLabel = "URI",
      description = "Calibration text or token ids, as for prune.")
  private List<String> calibration;

  @Option(
      names = "--statistics",
      required = true,
      paramLabel = "URI",
      description = "Folder for norms, outlier counts, score distributions and spectra.")
  private String statistics;

  @Option(
      names = "--spectra",
      description =
          "Also take the singular values of every linear layer, which --allocation alpha looks at.")
  private boolean spectra;

  @Mixin private CalibrationFlags sampled;

  @Mixin private ComputeFlags computeFlags;

  @Override
  public Integer call() throws Exception {
    try (ConsoleProgress progress = ConsoleProgress.standard();
        SparkSession session =
            SparkContexts.open(
                "calibrate",
                List.of(RowCode.Group.FORWARD, RowCode.Group.SELECTION),
                computeFlags.compute())) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
      progress.say(InspectCommand.summary(model, layout));
      computeFlags.announce(progress);
      StatisticsStore.open(storage, statistics); // refuses a wrong folder before text is read
      Samples samples =
          sampled.read(
              new TokenInput(spark.hadoopConfiguration(), storage), layout, calibration, model);
      progress.say("calibration: " + TokenInput.summary(samples));
      StatisticsStore store =
          new SparkPipeline(spark, storage, progress)
              .withCompute(computeFlags.compute())
              .withStatistics(statistics, false)
              .calibrate(model, samples, spectra);
      System.out.printf(
          "statistics of %d blocks, outliers at M = %s%s, in %s%n",
          store.profiles().size(), store.thresholds(), spectra ? ", with spectra" : "", statistics);
      return Main.DONE;
    }
  }
}
