package ai.owl.spark.cli;

import ai.owl.checkpoint.Storage;
import ai.owl.zeroshot.ZeroShotTask;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A folder with the items of tasks. It may say in one way only what the items of a task are: of two
 * files, or two splits of a data set, taking one would be a guess, and taking both a result that
 * compares with nothing.
 *
 * @param location of the folder
 */
record TaskFolder(Storage storage, String location) {
  private static final List<String> SUFFIXES =
      List.of(".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet");

  /** How files of a data set begin, such as {@code test-00000-of-00001.parquet}. */
  private static final Pattern SPLIT =
      Pattern.compile("(train|validation|valid|val|dev|test)(?:[-_.].*)", Pattern.CASE_INSENSITIVE);

  private static final Map<String, String> SAME_SPLIT =
      Map.of("valid", "validation", "val", "validation", "dev", "validation");

  /**
   * The files that hold a task's items, in the items' order.
   *
   * @throws FileNotFoundException if there are none
   * @throws IllegalArgumentException if there is more than one answer
   */
  List<String> items(ZeroShotTask task) throws IOException {
    List<String> names = storage.list(location);
    List<String> found = new ArrayList<>();
    SUFFIXES.stream()
        .map(suffix -> task.name() + suffix)
        .filter(names::contains)
        .forEach(found::add);
    String folder = Storage.resolve(location, task.name());
    List<String> parts = List.of();
    if (names.contains(task.name()) && storage.isFolder(folder)) {
      parts = ofSplit(task, folder, storage.list(folder).stream().filter(this::isItems).toList());
    }
    if (!parts.isEmpty()) {
      found.add(task.name());
    }
    if (found.size() > 1) {
      throw new IllegalArgumentException(
          "Cannot choose the items of task "
              + task.name()
              + " in "
              + location
              + ": "
              + String.join(" and ", found)
              + " are there; keep one of them, or give --task-data another folder");
    }
    if (found.isEmpty()) {
      throw new FileNotFoundException(
          location
              + ": it has no items of task "
              + task.name()
              + "; expected "
              + task.name()
              + ".jsonl, "
              + task.name()
              + ".json (each also .gz), "
              + task.name()
              + ".parquet, or a folder "
              + task.name()
              + " of such files");
    }
    return parts.isEmpty()
        ? List.of(Storage.resolve(location, found.get(0)))
        : parts.stream().map(name -> Storage.resolve(folder, name)).toList();
  }

  private boolean isItems(String name) {
    return !suffix(name).isEmpty() && !name.startsWith("_") && !name.startsWith(".");
  }

  private static String suffix(String name) {
    // The longer ones end in none of the others.
    return SUFFIXES.stream().filter(name::endsWith).findFirst().orElse("");
  }

  /** Of a data set's files those of the split that lm-evaluation-harness scores. */
  private static List<String> ofSplit(ZeroShotTask task, String folder, List<String> names) {
    Map<String, List<String>> bySplit =
        names.stream().sorted().collect(Collectors.groupingBy(TaskFolder::split));
    List<String> chosen = names.stream().sorted().toList();
    if (bySplit.size() > 1) {
      String wanted = normal(task.split());
      chosen = wanted.isEmpty() ? List.of() : bySplit.getOrDefault(wanted, List.of());
      if (chosen.isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot choose the items of task "
                + task.name()
                + " in "
                + folder
                + ": it has files of several splits, "
                + String.join(", ", names)
                + (wanted.isEmpty()
                    ? ", and the task file sets neither test_split nor validation_split"
                    : ", and none of " + wanted)
                + "; keep those to score");
      }
    }
    Set<String> kinds =
        chosen.stream().map(TaskFolder::suffix).collect(Collectors.toCollection(TreeSet::new));
    if (kinds.size() > 1) {
      throw new IllegalArgumentException(
          "Cannot choose the items of task "
              + task.name()
              + " in "
              + folder
              + ": it has files of several kinds, "
              + String.join(", ", chosen)
              + "; keep those of one kind");
    }
    return chosen;
  }

  /** The split that a file's name begins with, or nothing. */
  private static String split(String name) {
    Matcher split = SPLIT.matcher(name);
    return split.matches() ? normal(split.group(1)) : "";
  }

  private static String normal(String split) {
    String lower = split.toLowerCase(Locale.ROOT);
    return SAME_SPLIT.getOrDefault(lower, lower);
  }
}
