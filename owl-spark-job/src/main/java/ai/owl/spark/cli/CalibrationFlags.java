package ai.owl.spark.cli;

import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.model.ModelLayout;
import ai.owl.spark.storage.TokenInput;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The flags that say how calibration samples are drawn. */
final class CalibrationFlags {
  private static final int PUBLISHED = 128;

  @Option(
      names = "--sequences",
      paramLabel = "N",
      description =
          "Calibration windows to draw from text, and how many of ready ones to take at most."
              + " Default: 128, and all ready ones.")
  private Optional<Integer> sequences = Optional.empty();

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

  /** How many are asked for. */
  int sequences() {
    return sequences.orElse(PUBLISHED);
  }

  /** Of evaluation windows too. */
  int length() {
    return length;
  }

  /** Reads what a model is to be shown. */
  Samples read(TokenInput input, ModelLayout layout, List<String> calibration, String model)
      throws IOException {
    Samples samples =
        input.calibration(layout, calibration, model, sampling, sequences(), length, seed);
    return samples instanceof TokenSequences tokens && sequences.isPresent()
        ? tokens.first(sequences.get())
        : samples;
  }

  /** What was read, for the report. */
  void describe(Map<String, Object> inputs, List<String> calibration) {
    TokenInput.describe(inputs, calibration, sampling, sequences(), length, seed);
  }
}
