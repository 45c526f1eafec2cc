package ai.owl.spark.cli;

import ai.owl.zeroshot.Scoring;
import ai.owl.zeroshot.TaskSuite;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The flags that say how zero-shot tasks are asked and scored. */
final class TaskFlags {
  /** Those that say something of the tasks, and none of their own. */
  private static final List<String> WITH_TASKS =
      List.of("--task-data", "--limit", "--few-shot", "--scoring", "--batch-tokens");

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  @Option(
      names = "--task-data",
      paramLabel = "URI",
      description =
          "Folder with the tasks' items in the fields of their original data sets: for each task"
              + " NAME.jsonl, NAME.json (JSON lines, each also .gz) or NAME.parquet, or a folder"
              + " NAME of such files. For one task, also the file itself.")
  private Optional<String> data = Optional.empty();

  @Option(
      names = "--task",
      split = ",",
      paramLabel = "FILE",
      description =
          "Also a task of your own: a YAML file with task, doc_to_text, doc_to_choice,"
              + " doc_to_target and metric_list as lm-evaluation-harness has them; its items are"
              + " in --task-data under its name.")
  private List<String> files = List.of();

  @Option(
      names = "--limit",
      defaultValue = "0",
      paramLabel = "N",
      description = "Only the first N items of every task. Default: all.")
  private int limit;

  @Option(
      names = "--few-shot",
      defaultValue = "0",
      paramLabel = "K",
      description = "Solved examples before every item: 0, as the pruning papers ask.")
  private int fewShot;

  @Option(
      names = "--scoring",
      defaultValue = "lm-eval",
      paramLabel = "NAME",
      description =
          "lm-eval (sum of a choice's log-probabilities, as lm-evaluation-harness) or owl (their"
              + " mean, as OWL's repository); the two do not compare. Default: ${DEFAULT-VALUE}.")
  private Scoring scoring;

  @Option(
      names = "--batch-tokens",
      defaultValue = "2048",
      paramLabel = "N",
      description =
          "Tokens of items that run through the model together. More is faster up to a point, and"
              + " takes memory. Default: ${DEFAULT-VALUE}.")
  private int batchTokens;

  /**
   * Checks all that can be checked before anything is read.
   *
   * @param names of known tasks that are asked for
   * @param option that gives them, for messages
   */
  TaskSuite.Options options(List<String> names, String option) {
    if (names.isEmpty() && files.isEmpty()) {
      for (String given : WITH_TASKS) {
        if (isGiven(given)) {
          throw new IllegalArgumentException(
              "Cannot use " + given + " without " + option + " or --task: no task is asked for");
        }
      }
    }
    if (limit == 0 && isGiven("--limit")) {
      throw new IllegalArgumentException(
          "Cannot use --limit 0: it is at least 1; leave it out for all items");
    }
    if (fewShot != 0) {
      throw new IllegalArgumentException(
          "Cannot use --few-shot "
              + fewShot
              + ": items are asked without examples, as the pruning papers do; leave it at 0");
    }
    return new TaskSuite.Options(scoring, limit, batchTokens);
  }

  private boolean isGiven(String option) {
    return command.commandLine().getParseResult().hasMatchedOption(option);
  }

  /** Files that describe tasks. */
  List<String> files() {
    return files;
  }

  /** Where the items lie. */
  String data(String option) {
    return data.orElseThrow(
        () ->
            new IllegalArgumentException(
                "Cannot use "
                    + (files.isEmpty() ? option : "--task")
                    + " without --task-data: name the folder that holds the tasks' items"));
  }

  /** What tasks read, for the report. */
  void describe(Map<String, Object> inputs, List<String> tasks) {
    inputs.put("tasks", tasks);
    inputs.put("taskFiles", files);
    inputs.put("taskData", data.orElse(""));
    inputs.put("limit", limit);
    inputs.put("scoring", scoring.label());
    inputs.put("batchTokens", batchTokens);
  }
}
