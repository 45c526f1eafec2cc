package ai.owl.spark.cli;

import ai.owl.calibration.RecordSource;
import ai.owl.calibration.TextTokenizer;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.model.ModelLayout;
import ai.owl.zeroshot.TaskFile;
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotTask;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** Finds the items of tasks and makes them ready for a model. */
final class TaskInput {
  private static final int MAX_TASK_FILE = 1 << 20;

  private final Configuration hadoop;
  private final Storage storage;
  private final List<String> read = new ArrayList<>();

  TaskInput(Configuration hadoop, Storage storage) {
    this.hadoop = hadoop;
    this.storage = storage;
  }

  /**
   * The tasks of these names.
   *
   * @param option that names them, for messages
   */
  static List<ZeroShotTask> named(List<String> names, String option) {
    Set<String> seen = new HashSet<>();
    List<ZeroShotTask> tasks = new ArrayList<>();
    for (String written : names) {
      String name = written.strip(); // "boolq, rte"
      if (!seen.add(name)) {
        throw new IllegalArgumentException(
            "Cannot use " + option + ": task " + name + " is named twice");
      }
      tasks.add(ZeroShotTask.named(name));
    }
    return tasks;
  }

  /** Tasks and those that files describe. */
  private List<ZeroShotTask> with(List<ZeroShotTask> named, List<String> files) throws IOException {
    List<ZeroShotTask> tasks = new ArrayList<>(named);
    for (String file : files) {
      read.add(file);
      ZeroShotTask own =
          TaskFile.parse(file, TaskYaml.parse(file, storage.readAll(file, MAX_TASK_FILE)));
      if (tasks.stream().anyMatch(other -> other.name().equals(own.name()))) {
        throw new IllegalArgumentException(
            "Cannot use " + file + " as a task: another one is called " + own.name() + ", too");
      }
      tasks.add(own);
    }
    return tasks;
  }

  /**
   * Reads tasks for a model.
   *
   * @param named the known ones that are asked for
   * @param files that describe more
   * @param data folder of the items, or the file of the only task
   * @param model folder of the checkpoint, whose tokenizer is used
   */
  TaskSuite read(
      List<ZeroShotTask> named,
      List<String> files,
      String data,
      TaskSuite.Options options,
      ModelLayout layout,
      String model)
      throws IOException {
    if (layout.config().readsImages()) {
      throw new IllegalArgumentException(
          "Cannot score tasks with "
              + model
              + ": "
              + layout.config().architecture().className()
              + " reads images, and tasks are text");
    }
    List<ZeroShotTask> tasks = with(named, files);
    List<TaskSuite.Source> sources = new ArrayList<>();
    for (ZeroShotTask task : tasks) {
      sources.add(new TaskSuite.Source(task, sources(task, data, tasks.size())));
    }
    try (TextTokenizer tokenizer = TextTokenizer.load(storage, model)) {
      return TaskSuite.read(
          sources, options, layout.config(), tokenizer, beginning(Checkpoint.open(storage, model)));
    }
  }

  /**
   * Refuses an output that would take the place of what tasks were read from.
   *
   * @param option that gives it, for messages
   * @param output null if none is asked for
   */
  void requireNotRead(String option, String output) throws IOException {
    if (output == null) {
      return;
    }
    Path written = qualified(output);
    for (String input : read) {
      if (qualified(input).equals(written)) {
        throw new IllegalArgumentException(
            "Cannot write " + option + " " + output + ": the tasks are read from it");
      }
    }
  }

  private Path qualified(String location) throws IOException {
    Path path = new Path(location);
    return path.getFileSystem(hadoop).makeQualified(path);
  }

  static String summary(TaskSuite suite) {
    return String.format(
        Locale.ROOT,
        "%,d items, %,d choices, %,d tokens",
        suite.items(),
        suite.sequences().sequences(),
        suite.sequences().rows());
  }

  /** The token a text begins with: bos_token_id, or else eos_token_id, which may be a list. */
  private static OptionalInt beginning(Checkpoint checkpoint) {
    for (String name : List.of("bos_token_id", "eos_token_id")) {
      JsonNode id = checkpoint.config().path(name);
      id = id.isArray() ? id.path(0) : id;
      if (id.isInt()) {
        return OptionalInt.of(id.intValue());
      }
    }
    return OptionalInt.empty();
  }

  private List<RecordSource> sources(ZeroShotTask task, String data, int tasks) throws IOException {
    if (!storage.exists(data)) {
      throw new FileNotFoundException(data + ": it does not exist");
    }
    if (!storage.isFolder(data)) {
      if (tasks > 1) {
        throw new IllegalArgumentException(
            "Cannot read the items of "
                + tasks
                + " tasks from "
                + data
                + ": it is one file; give --task-data a folder with a file for each task");
      }
      return List.of(source(data));
    }
    return new TaskFolder(storage, data).items(task).stream().map(this::source).toList();
  }

  private RecordSource source(String location) {
    read.add(location);
    return location.endsWith(".parquet")
        ? new ParquetRecords(hadoop, location)
        : RecordSource.of(storage, location);
  }
}
