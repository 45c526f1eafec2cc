package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.zeroshot.ZeroShotTask;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TaskFolderTest {
  @TempDir private Path folder;

  @Test
  void findsAFileByTheTasksName() throws IOException {
    make("rte.json.gz", "boolq.parquet", "boolq.txt", "notes.jsonl");
    assertThat(items("rte")).containsExactly("rte.json.gz");
    assertThat(items("boolq")).containsExactly("boolq.parquet");
    assertThatThrownBy(() -> items("hellaswag"))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessageContaining("it has no items of task hellaswag; expected hellaswag.jsonl, ");
  }

  @Test
  void takesAllFilesOfAFolderInTheirOrder() throws IOException {
    make("rte/b.parquet", "rte/a.parquet", "rte/README.md", "rte/.a.parquet.crc", "rte/_SUCCESS");
    assertThat(items("rte")).containsExactly("rte/a.parquet", "rte/b.parquet");
  }

  /** A data set as Hugging Face publishes it has them all in one folder. */
  @Test
  void takesTheSplitThatLmEvalScores() throws IOException {
    for (String task : List.of("rte", "arc_easy")) {
      make(
          task + "/train-00000-of-00001.parquet",
          task + "/validation-00000-of-00001.parquet",
          task + "/test-00000-of-00002.parquet",
          task + "/test-00001-of-00002.parquet");
    }
    assertThat(items("rte")).containsExactly("rte/validation-00000-of-00001.parquet");
    assertThat(items("arc_easy"))
        .containsExactly(
            "arc_easy/test-00000-of-00002.parquet", "arc_easy/test-00001-of-00002.parquet");
    make("boolq/train.jsonl", "boolq/dev.jsonl", "openbookqa/val.jsonl");
    assertThat(items("boolq")).containsExactly("boolq/dev.jsonl");
    assertThat(items("openbookqa")).as("the only one").containsExactly("openbookqa/val.jsonl");
  }

  @Test
  void refusesToGuess() throws IOException {
    make("boolq/train.jsonl", "boolq/test.jsonl");
    assertRefused(
        "boolq",
        "boolq: it has files of several splits, test.jsonl, train.jsonl, and none of validation");
    make("rte.jsonl", "rte.parquet");
    assertRefused("rte", ": rte.jsonl and rte.parquet are there; keep one of them");
    make("winogrande.jsonl", "winogrande/a.jsonl");
    assertRefused("winogrande", ": winogrande.jsonl and winogrande are there");
    make("arc_easy/test.jsonl", "arc_easy/test.parquet");
    assertRefused("arc_easy", "it has files of several kinds, test.jsonl, test.parquet; keep");
  }

  private void assertRefused(String task, String message) {
    assertThatThrownBy(() -> items(task))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot choose the items of task " + task + " in " + folder)
        .hasMessageContaining(message);
  }

  private List<String> items(String task) throws IOException {
    return new TaskFolder(new LocalStorage(), folder.toString())
        .items(ZeroShotTask.named(task)).stream()
            .map(location -> folder.relativize(Path.of(location)).toString())
            .toList();
  }

  private void make(String... names) throws IOException {
    for (String name : names) {
      Path file = folder.resolve(name);
      Files.createDirectories(file.getParent());
      Files.createFile(file);
    }
  }
}
