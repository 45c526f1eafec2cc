package ai.owl.spark.cli;

import ai.owl.calibration.WindowSampling;
import picocli.CommandLine.Option;

/** The flags that say how calibration samples are drawn. */
final class CalibrationFlags {
  @Option(
      names = "--sequences",
      defaultValue = "128",
      paramLabel = "N",
      description = "Calibration windows to draw from text. Default: 128.")
  private int sequences;

  @Option(
      names = "--length",
      defaultValue = "2048",
      paramLabel = "T",
      description = "Tokens of a window, for calibration and evaluation. Default: 2048.")
  private int length;

  @Option(
      names = "--seed",
      defaultValue = "0",
      paramLabel = "SEED",
      description = "Seed of the published sampling. Default: 0.")
  private long seed;

  @Option(
      names = "--sampling",
      defaultValue = "published",
      paramLabel = "NAME",
      description =
          "published (a random window from each drawn document) or packed (consecutive windows of"
              + " all documents). Default: ${DEFAULT-VALUE}.")
  private WindowSampling sampling;

  int sequences() {
    return sequences;
  }

  /** Of evaluation windows too. */
  int length() {
    return length;
  }

  long seed() {
    return seed;
  }

  WindowSampling sampling() {
    return sampling;
  }

  /** Windows of a fixed kind, as the demo draws them. */
  static CalibrationFlags of(WindowSampling sampling, int sequences, int length, long seed) {
    CalibrationFlags flags = new CalibrationFlags();
    flags.sampling = sampling;
    flags.sequences = sequences;
    flags.length = length;
    flags.seed = seed;
    return flags;
  }
}
