package ai.owl.spark.cli;

import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;

/** A result for machines. */
final class JsonFile {
  private JsonFile() {}

  /**
   * Finds out whether the file can be made before hours are spent on its content.
   *
   * @param option that gives it, for messages
   * @param location of the file; null if none is asked for
   */
  static void requireWritable(Storage storage, String option, String location) throws IOException {
    if (location == null) {
      return;
    }
    if (location.endsWith(".safetensors") || location.endsWith(".index.json")) {
      throw new IllegalArgumentException(
          "Cannot write "
              + option
              + " "
              + location
              + ": that is the name of a file of a checkpoint");
    }
    if (storage.isFolder(location)) {
      throw new IllegalArgumentException(
          "Cannot write " + option + " " + location + ": it is a folder; give the name of a file");
    }
    try {
      storage.create(location).abort();
    } catch (FileSystemException e) {
      throw new IllegalArgumentException(
          "Cannot write "
              + option
              + " "
              + location
              + ": "
              + (e.getReason() == null ? e.getClass().getSimpleName() : e.getReason()),
          e);
    }
  }

  static void write(Storage storage, String location, JsonNode json) throws IOException {
    storage.writeAll(location, (json.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
  }
}
