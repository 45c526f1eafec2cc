package ai.owl.spark.cli;

import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** A result for machines. */
final class JsonFile {
  private JsonFile() {}

  static void write(Storage storage, String location, JsonNode json) throws IOException {
    storage.writeAll(location, (json.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
  }
}
