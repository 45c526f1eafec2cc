package ai.owl.spark.cli;

import ai.owl.calibration.DocumentSource;
import ai.owl.calibration.EvaluationWindows;
import ai.owl.calibration.TextDocuments;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenFile;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.function.Consumer;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;

/** Turns what the user calls calibration or evaluation data into token ids. */
final class TokenInput {
  private static final String TEXT = "text";

  private final SparkSession spark;
  private final Storage storage;

  TokenInput(SparkSession spark, Storage storage) {
    this.spark = spark;
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
        ? new ParquetDocuments(spark, storage, location)
        : DocumentSource.of(storage, location);
  }

  /** The column {@code text} of a Parquet file or folder, in the order of its rows. */
  private record ParquetDocuments(SparkSession spark, Storage storage, String location)
      implements DocumentSource {
    @Override
    public void forEach(Consumer<String> documents) throws IOException {
      if (!storage.exists(location)) {
        throw new FileNotFoundException(location + ": it does not exist");
      }
      Iterator<Row> rows;
      try {
        Dataset<Row> table = spark.read().parquet(location);
        if (Arrays.stream(table.schema().fields())
            .noneMatch(
                field ->
                    field.name().equals(TEXT) && field.dataType().equals(DataTypes.StringType))) {
          throw new MalformedCheckpointException(
              "Cannot read "
                  + location
                  + ": it has no column text of strings, but "
                  + table.schema().simpleString());
        }
        rows = table.select(TEXT).toLocalIterator();
      } catch (Exception e) {
        throw unreadable(e);
      }
      long row = 0;
      while (rows.hasNext()) {
        String text = rows.next().getString(0);
        if (text == null) {
          throw new MalformedCheckpointException(
              "Cannot read " + location + ": text is null in row " + row);
        }
        documents.accept(text);
        row++;
      }
    }

    private RuntimeException unreadable(Exception e) {
      if (e instanceof MalformedCheckpointException malformed) {
        return malformed;
      }
      String why =
          e instanceof AnalysisException analysis
              ? analysis.getMessage()
              : String.valueOf(e.getMessage());
      return new MalformedCheckpointException(
          "Cannot read " + location + " as Parquet: " + why.lines().findFirst().orElse(""), e);
    }
  }
}
