package ai.owl.spark.cli;

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
import org.apache.hadoop.conf.Configuration;

/** Turns what the user calls calibration or evaluation data into token ids. */
final class TokenInput {
  private final Configuration hadoop;
  private final Storage storage;

  TokenInput(Configuration hadoop, Storage storage) {
    this.hadoop = hadoop;
    this.storage = storage;
  }

  /** Calibration sequences: ready ids from a .safetensors file, or windows drawn from text. */
  TokenSequences calibration(
      List<String> locations,
      String model,
      WindowSampling sampling,
      int sequences,
      int length,
      long seed)
      throws IOException {
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
  TokenSequences evaluation(
      List<String> locations, String option, String model, int length, int windows)
      throws IOException {
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
