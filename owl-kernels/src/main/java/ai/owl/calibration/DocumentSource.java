package ai.owl.calibration;

import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.util.function.Consumer;

/**
 * The documents at one location, one after the other. {@link #of} reads the formats that plain Java
 * can read; others, such as Parquet, bring a source of their own.
 */
public interface DocumentSource {
  /** Where the documents lie, as the user gave it. */
  String location();

  /**
   * Hands over every document in the location's order, whole.
   *
   * @throws ai.owl.checkpoint.MalformedCheckpointException if the file is not what its name says
   */
  void forEach(Consumer<String> documents) throws IOException;

  /**
   * The documents of a text file, plain or gzipped. A name that ends in {@code .jsonl} or {@code
   * .json} (before {@code .gz}) means JSON lines, each an object whose field {@code text} is a
   * document; any other name means plain text, which is one document. All text is UTF-8.
   */
  static DocumentSource of(Storage storage, String location) {
    return new TextFile(storage, location);
  }
}
