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
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.YAMLException;

/** Finds the items of tasks and makes them ready for a model. */
final class TaskInput {
  private static final int MAX_TASK_FILE = 1 << 20;

  private static final List<String> SUFFIXES =
      List.of(".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet");

  private final Configuration hadoop;
  private final Storage storage;

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
    for (String name : names) {
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
      ZeroShotTask own = TaskFile.parse(file, yaml(file));
      if (tasks.stream().anyMatch(other -> other.name().equals(own.name()))) {
        throw new IllegalArgumentException(
            "Cannot use " + file + " as a task: another one is called " + own.name() + ", too");
      }
      tasks.add(own);
    }
    return tasks;
  }

  private JsonNode yaml(String file) throws IOException {
    String text = new String(storage.readAll(file, MAX_TASK_FILE), StandardCharsets.UTF_8);
    try {
      // The safe constructor makes nothing but maps, lists, texts and numbers.
      Object content = new Yaml(new SafeConstructor(new LoaderOptions())).load(text);
      return new JsonMapper().valueToTree(content);
    } catch (YAMLException e) {
      throw new IllegalArgumentException(
          "Cannot use "
              + file
              + " as a task: it is not plain YAML: "
              + e.getMessage().lines().findFirst().orElse(""),
          e);
    }
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
      sources.add(new TaskSuite.Source(task, sources(task.name(), data, tasks.size())));
    }
    try (TextTokenizer tokenizer = TextTokenizer.load(storage, model)) {
      return TaskSuite.read(
          sources, options, layout.config(), tokenizer, beginning(Checkpoint.open(storage, model)));
    }
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

  private List<RecordSource> sources(String task, String data, int tasks) throws IOException {
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
    List<String> names = storage.list(data);
    for (String suffix : SUFFIXES) {
      if (names.contains(task + suffix)) {
        return List.of(source(Storage.resolve(data, task + suffix)));
      }
    }
    String folder = Storage.resolve(data, task);
    if (names.contains(task) && storage.isFolder(folder)) {
      List<RecordSource> parts =
          storage.list(folder).stream()
              .filter(name -> SUFFIXES.stream().anyMatch(name::endsWith))
              .sorted()
              .map(name -> source(Storage.resolve(folder, name)))
              .toList();
      if (!parts.isEmpty()) {
        return parts;
      }
    }
    throw new FileNotFoundException(
        data
            + ": it has no items of task "
            + task
            + "; expected "
            + task
            + ".jsonl, "
            + task
            + ".json (each also .gz), "
            + task
            + ".parquet, or a folder "
            + task
            + " of such files");
  }

  private RecordSource source(String location) {
    return location.endsWith(".parquet")
        ? new ParquetRecords(hadoop, location)
        : RecordSource.of(storage, location);
  }
}
