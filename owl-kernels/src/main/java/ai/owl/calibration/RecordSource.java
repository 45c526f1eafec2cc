package ai.owl.calibration;

import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;

/**
 * The records at one location, one after the other: objects with named fields, as data sets are
 * published. {@link #of} reads JSON lines; others, such as Parquet, bring a source of their own.
 */
public interface RecordSource {
  /** Where the records lie, as the user gave it. */
  String location();

  /**
   * Hands over every record in the location's order.
   *
   * @throws ai.owl.checkpoint.MalformedCheckpointException if the file is not what its name says
   */
  void forEach(RecordConsumer records) throws IOException;

  /** What is done with a record. */
  @FunctionalInterface
  interface RecordConsumer {
    /**
     * @param place of the record in its file, to begin a sentence with: {@code line 3}
     * @param fields a JSON object
     */
    void accept(String place, JsonNode fields) throws IOException;
  }

  /** The objects of a file of JSON lines, plain or gzipped, whose lines may be blank. */
  static RecordSource of(Storage storage, String location) {
    return new JsonLines(storage, location);
  }

  /** A file whose every line is a JSON object. */
  record JsonLines(Storage storage, String location) implements RecordSource {
    @Override
    public void forEach(RecordConsumer records) throws IOException {
      new TextFile(storage, location).forEachObject(records);
    }
  }
}
