package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import ai.owl.checkpoint.MalformedCheckpointException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ParquetRecordsTest {
  private static final MessageType SCHEMA =
      MessageTypeParser.parseMessageType(
          """
          message item {
            optional binary question (STRING);
            optional group choices {
              optional group text (LIST) { repeated group list { optional binary element (STRING); } }
            }
            optional int64 label;
            required boolean right;
          }
          """);

  @TempDir private Path folder;

  @Test
  void readsRowsAsObjects() throws IOException {
    assertThat(records(written()))
        .startsWith(
            "row 0 {\"question\":\"why 0\",\"choices\":{\"text\":[\"a\",\"b\"]},\"label\":0,\"right\":true}")
        .endsWith(
            "row 39 {\"question\":null,\"choices\":{\"text\":[\"a\",\"b\"]},\"label\":39,\"right\":true}")
        .hasSize(40);
  }

  /** Cut anywhere, and with bytes changed anywhere: read, or refused in one line with its name. */
  @Test
  void refusesDamagedFiles() throws IOException {
    byte[] sound = Files.readAllBytes(written());
    Path file = folder.resolve("damaged.parquet");
    Random random = new Random(0);
    int refused = 0;
    for (int i = 0; i < 600; i++) {
      byte[] damaged =
          i % 4 == 0 ? Arrays.copyOf(sound, random.nextInt(sound.length)) : sound.clone();
      if (i % 4 != 0) {
        damaged[random.nextInt(sound.length)] = (byte) random.nextInt();
      }
      Files.write(file, damaged);
      Throwable failure = catchThrowable(() -> records(file));
      if (failure != null) {
        assertThat(failure)
            .isInstanceOf(MalformedCheckpointException.class)
            .hasMessageStartingWith("Cannot read " + file + " as Parquet: ")
            .hasMessageNotContaining("\n");
        refused++;
      }
    }
    assertThat(refused).isGreaterThan(150);
  }

  private Path written() throws IOException {
    Path file = folder.resolve("items.parquet");
    SimpleGroupFactory groups = new SimpleGroupFactory(SCHEMA);
    try (ParquetWriter<Group> writer =
        ExampleParquetWriter.builder(new org.apache.hadoop.fs.Path(file.toString()))
            .withType(SCHEMA)
            .withConf(new Configuration())
            .build()) {
      for (int i = 0; i < 40; i++) {
        Group item = groups.newGroup().append("label", (long) i).append("right", true);
        if (i < 39) {
          item.append("question", "why " + i);
        }
        Group list = item.addGroup("choices").addGroup("text");
        list.addGroup("list").append("element", "a");
        list.addGroup("list").append("element", "b");
        writer.write(item);
      }
    }
    return file;
  }

  private static List<String> records(Path file) throws IOException {
    List<String> records = new ArrayList<>();
    new ParquetRecords(new Configuration(), file.toString())
        .forEach((place, fields) -> records.add(place + " " + fields));
    return records;
  }
}
