package ai.owl.spark.storage;

import ai.owl.calibration.DocumentSource;
import ai.owl.calibration.EvaluationWindows;
import ai.owl.calibration.ImageSamples;
import ai.owl.calibration.Samples;
import ai.owl.calibration.TextDocuments;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenFile;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.Storage;
import ai.owl.image.ImageFolder;
import ai.owl.image.ImagePreprocessor;
import ai.owl.model.ModelLayout;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;

/** Turns what the user calls calibration or evaluation data into token ids, or images. */
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
      return windows <= 0 ? all : all.first(windows);
    }
    try (TextDocuments documents = documents(locations);
        TextTokenizer tokenizer = TextTokenizer.load(storage, model)) {
      int[] stream = EvaluationWindows.stream(documents, tokenizer);
      return EvaluationWindows.cut(stream, documents.source(), length, windows);
    }
  }

  /**
   * What a model is shown for calibration: text or token ids, or images where it reads those.
   *
   * @param sequences of images, how many at most: spread evenly over the folder, so that every
   *     label is seen
   */
  public Samples calibration(
      ModelLayout layout,
      List<String> locations,
      String model,
      WindowSampling sampling,
      int sequences,
      int length,
      long seed)
      throws IOException {
    return layout.config().readsImages()
        ? images(layout, locations, "--calibration", model, sequences)
        : calibration(
            texts(layout, locations, "--calibration"), model, sampling, sequences, length, seed);
  }

  /**
   * What a model is measured on: text or token ids, or images where it reads those.
   *
   * @param windows how many, or how many images, at most; all if zero
   */
  public Samples evaluation(
      ModelLayout layout,
      List<String> locations,
      String option,
      String model,
      int length,
      int windows)
      throws IOException {
    return layout.config().readsImages()
        ? images(layout, locations, option, model, windows)
        : evaluation(texts(layout, locations, option), option, model, length, windows);
  }

  /** The locations, none of which is a folder, such as one of images; but Parquet's are. */
  private List<String> texts(ModelLayout layout, List<String> locations, String option)
      throws IOException {
    for (String location : locations) {
      if (storage.isFolder(location) && !(source(location) instanceof ParquetDocuments)) {
        throw new IllegalArgumentException(
            "Cannot use "
                + option
                + " "
                + location
                + ": it is a folder, and "
                + layout.config().architecture().className()
                + " reads text; give files of text or of token ids");
      }
    }
    return locations;
  }

  private ImageSamples images(
      ModelLayout layout, List<String> locations, String option, String model, int most)
      throws IOException {
    if (locations.size() > 1) {
      throw new IllegalArgumentException(
          "Cannot use "
              + option
              + " with "
              + locations.size()
              + " locations: "
              + layout.config().architecture().className()
              + " reads images; give one folder");
    }
    String folder = locations.get(0);
    if (storage.exists(folder) && !storage.isFolder(folder)) {
      throw new IllegalArgumentException(
          "Cannot use "
              + option
              + " "
              + folder
              + ": it is a file, and "
              + layout.config().architecture().className()
              + " reads images; give a folder of them");
    }
    ImagePreprocessor preprocessor = ImagePreprocessor.open(storage, model);
    ImageFolder all = ImageFolder.open(storage, locations.get(0), layout.config().labels());
    int count = all.images().size();
    if (most <= 0 || most >= count) {
      return new ImageSamples(storage, all, preprocessor);
    }
    List<ImageFolder.LabelledImage> spread = new ArrayList<>();
    for (long i = 0; i < most; i++) {
      spread.add(all.images().get((int) (i * count / most)));
    }
    return new ImageSamples(storage, new ImageFolder(spread), preprocessor);
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

  public static String summary(Samples samples) {
    return samples instanceof TokenSequences tokens
        ? String.format(Locale.ROOT, "%,d sequences, %,d tokens", tokens.count(), tokens.tokens())
        : String.format(Locale.ROOT, "%,d images", samples.count());
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
