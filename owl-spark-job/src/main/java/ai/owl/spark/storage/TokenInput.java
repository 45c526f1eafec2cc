package ai.owl.spark.storage;

import ai.owl.calibration.DocumentSource;
import ai.owl.calibration.EvaluationWindows;
import ai.owl.calibration.TextDocuments;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenFile;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;

/** Turns what the user calls calibration or evaluation data into token ids. */
public final class TokenInput {
  private final Configuration hadoop;
  private final Storage storage;

  /** No model looks further, and a mistyped number should not end in want of memory. */
  private static final int MAX_LENGTH = 1 << 20;

  public TokenInput(Configuration hadoop, Storage storage) {
    this.hadoop = hadoop;
    this.storage = storage;
  }

  /** Calibration sequences: ready ids from a .safetensors file, or windows drawn from text. */
  public TokenSequences calibration(
      List<String> locations,
      String model,
      WindowSampling sampling,
      int sequences,
      int length,
      long seed)
      throws IOException {
    if (sequences < 1) {
      throw new IllegalArgumentException(
          "Cannot use --sequences " + sequences + ": it is at least 1");
    }
    requireLength(length);
    if (isTokenFile(locations, "--calibration")) {
      return TokenFile.read(storage, locations.get(0), TokenFile.CALIBRATION);
    }
    try (TextDocuments documents = documents(locations);
        TextTokenizer tokenizer = TextTokenizer.load(storage, model)) {
      return sampling.sample(documents, tokenizer, sequences, length, seed);
    }
  }

  /**
   * Evaluation windows: ready ids from a .safetensors file, or text cut by the published protocol.
   *
   * @param windows how many at most; all if zero
   */
  public TokenSequences evaluation(
      List<String> locations, String option, String model, int length, int windows)
      throws IOException {
    requireLength(length);
    if (isTokenFile(locations, option)) {
      TokenSequences all = TokenFile.read(storage, locations.get(0), TokenFile.EVALUATION);
      return windows <= 0 || windows >= all.count()
          ? all
          : TokenSequences.of(all.sequences().subList(0, windows));
    }
    try (TextDocuments documents = documents(locations);
        TextTokenizer tokenizer = TextTokenizer.load(storage, model)) {
      int[] stream = EvaluationWindows.stream(documents, tokenizer);
      return EvaluationWindows.cut(stream, documents.source(), length, windows);
    }
  }

  private static void requireLength(int length) {
    if (length < 1 || length > MAX_LENGTH) {
      throw new IllegalArgumentException(
          "Cannot use --length " + length + ": it is at least 1 and at most " + MAX_LENGTH);
    }
  }

  /** What calibration reads, for the report. */
  public static void describe(
      Map<String, Object> inputs,
      List<String> calibration,
      WindowSampling sampling,
      int sequences,
      int length,
      long seed) {
    inputs.put("calibration", calibration);
    if (!isTokenFile(calibration, "--calibration")) {
      inputs.put("sampling", sampling.name().toLowerCase(Locale.ROOT));
      inputs.put("sequences", sequences);
      inputs.put("length", length);
      inputs.put("seed", seed);
    }
  }

  /** What evaluation reads, for the report. */
  public static void describe(Map<String, Object> inputs, List<String> evaluation, int length) {
    inputs.put("evaluation", evaluation);
    if (!isTokenFile(evaluation, "--evaluate")) {
      inputs.put("length", length);
    }
  }

  public static String summary(TokenSequences tokens) {
    return String.format(Locale.ROOT, "%,d sequences, %,d tokens", tokens.count(), tokens.tokens());
  }

  private static boolean isTokenFile(List<String> locations, String option) {
    boolean tokens = locations.stream().anyMatch(location -> location.endsWith(".safetensors"));
    if (tokens && locations.size() > 1) {
      throw new IllegalArgumentException(
          "Cannot use "
              + option
              + " with several locations if one is a .safetensors file of token ids");
    }
    return tokens;
  }

  private TextDocuments documents(List<String> locations) throws IOException {
    return TextDocuments.read(locations.stream().map(this::source).toList());
  }

  private DocumentSource source(String location) {
    return location.endsWith(".parquet")
        ? new ParquetDocuments(hadoop, storage, location)
        : DocumentSource.of(storage, location);
  }
}
