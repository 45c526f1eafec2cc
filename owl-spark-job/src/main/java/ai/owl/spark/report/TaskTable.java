package ai.owl.spark.report;

import ai.owl.zeroshot.TaskMetric;
import ai.owl.zeroshot.TaskResult;
import ai.owl.zeroshot.ZeroShotResults;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Zero-shot results as rows and columns, for terminal and page: a row a task and one of the mean, a
 * column for each metric and model.
 *
 * @param models what each of the results is of; one without a name stands alone
 * @param results in the order of {@code models}, of the same tasks
 */
record TaskTable(List<String> models, List<ZeroShotResults> results) {
  /** One model's results. */
  static TaskTable of(ZeroShotResults results) {
    return new TaskTable(List.of(""), List.of(results));
  }

  /** What a model could do before it was pruned, and what it can after, if that can be measured. */
  static TaskTable of(ZeroShotResults dense, Optional<ZeroShotResults> pruned) {
    return pruned
        .map(after -> new TaskTable(List.of("dense", "pruned"), List.of(dense, after)))
        .orElse(new TaskTable(List.of("dense"), List.of(dense)));
  }

  /** What was asked, and how it was scored. */
  static String what(ZeroShotResults results) {
    return Numbers.format(
        "%d tasks, 0-shot, scoring %s", results.tasks().size(), results.scoring().label());
  }

  List<String> columns() {
    List<String> columns = new ArrayList<>(List.of("task", "items"));
    for (TaskMetric metric : metrics()) {
      models.forEach(model -> columns.add((metric.label() + " " + model).strip()));
    }
    return columns;
  }

  /** The metrics that any task reports. */
  private List<TaskMetric> metrics() {
    return Arrays.stream(TaskMetric.values())
        .filter(
            metric ->
                results.get(0).tasks().stream().anyMatch(task -> task.estimate(metric).isPresent()))
        .toList();
  }

  /** The last row is that of the mean. */
  List<List<String>> rows() {
    List<List<String>> rows = new ArrayList<>();
    for (int t = 0; t < results.get(0).tasks().size(); t++) {
      TaskResult first = results.get(0).tasks().get(t);
      List<String> row = new ArrayList<>(List.of(first.task(), Integer.toString(first.items())));
      for (TaskMetric metric : metrics()) {
        for (ZeroShotResults model : results) {
          row.add(model.tasks().get(t).estimate(metric).map(TaskTable::cell).orElse(Numbers.NONE));
        }
      }
      rows.add(row);
    }
    List<String> mean = new ArrayList<>(List.of("mean of tasks", ""));
    for (TaskMetric metric : metrics()) {
      for (ZeroShotResults model : results) {
        mean.add(metric == TaskMetric.ACC ? Numbers.format("%.4f", model.mean()) : "");
      }
    }
    rows.add(mean);
    return rows;
  }

  private static String cell(TaskResult.Estimate estimate) {
    return Double.isFinite(estimate.standardError())
        ? Numbers.format("%.4f ± %.4f", estimate.value(), estimate.standardError())
        : Numbers.format("%.4f", estimate.value());
  }

  /** Aligned, for a terminal. */
  void print(StringBuilder text) {
    List<List<String>> lines = new ArrayList<>(List.of(columns()));
    lines.addAll(rows());
    for (List<String> line : lines) {
      StringBuilder row = new StringBuilder(Numbers.format("%-14s  %6s", line.get(0), line.get(1)));
      line.stream().skip(2).forEach(cell -> row.append(Numbers.format("  %16s", cell)));
      text.append(row.toString().stripTrailing()).append(System.lineSeparator());
    }
    text.append(what(results.get(0)))
        .append("; ± is the standard error")
        .append(System.lineSeparator());
  }

  /** As a table of a page. */
  DataTable table() {
    return DataTable.of("Zero-shot tasks: " + what(results.get(0)), columns(), rows())
        .withMarked(List.of(rows().size() - 1));
  }
}
