package ai.owl.spark.report;

import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import ai.owl.zeroshot.ZeroShotResults;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/** A {@link PruneReport} as text for a terminal. */
public final class ReportTable {
  private ReportTable() {}

  /** The blocks, the totals, the perplexities and the times. */
  public static String of(PruneReport report) {
    StringBuilder text = new StringBuilder();
    line(text, "block   outliers %%   asked %%   reached %%   removed        of");
    for (PruneReport.Block block : report.blocks()) {
      line(
          text,
          "%5d   %10s   %7.3f   %9.3f   %7s   %7s",
          block.profile().block(),
          report.outlierRatio(block).map(ratio -> format("%.4f", ratio)).orElse("-"),
          100 * block.sparsity(),
          100 * block.reached(),
          count(block.zeros()),
          count(block.weights()));
    }
    line(
        text,
        "  all   %10s   %7.3f   %9.3f   %7s   %7s",
        "",
        100 * report.options().sparsity(),
        100 * report.reached(),
        count(report.zeros()),
        count(report.weights()));
    report
        .dense()
        .ifPresent(
            dense ->
                line(
                    text,
                    "%n%s %.4f dense, %s pruned, %s",
                    dense.name(),
                    dense.value(),
                    report.pruned().map(pruned -> format("%.4f", pruned.value())).orElse("none"),
                    dense.basis()));
    if (report.denseTasks().isPresent()) {
      text.append(System.lineSeparator());
      TaskTable.of(report.denseTasks().get(), report.prunedTasks()).print(text);
    }
    text.append(System.lineSeparator());
    double total = report.seconds().values().stream().mapToDouble(Double::doubleValue).sum();
    report.seconds().forEach((stage, seconds) -> line(text, "%-10s %9.1f s", stage, seconds));
    line(text, "%-10s %9.1f s", "all stages", total);
    report.findings().forEach(warning -> line(text, "note: %s", warning));
    return text.toString();
  }

  /** The rows of a sweep, best first at each sparsity. */
  public static String of(SweepReport report) {
    StringBuilder text = new StringBuilder();
    boolean tasks = !report.denseTasks().isEmpty();
    line(text, "sparsity   reached   perplexity   %sway", tasks ? "mean acc   " : "");
    report.rows().stream()
        .sorted(
            Comparator.comparingDouble((SweepReport.Row row) -> row.options().sparsity())
                .thenComparingDouble(row -> row.pruned().value()))
        .forEach(
            row ->
                line(
                    text,
                    "%8.4f  %8.4f  %11.4f   %s%s",
                    row.options().sparsity(),
                    row.reached(),
                    row.pruned().value(),
                    tasks ? mean(row.tasks()) : "",
                    row.label()));
    line(
        text,
        "%8s  %8s  %11.4f   %sdense",
        "0",
        "",
        report.dense().value(),
        mean(report.denseTasks()));
    if (tasks) {
      line(text, "mean acc of %s", TaskTable.what(report.denseTasks().get(0)));
    }
    report.warnings().forEach(warning -> line(text, "note: %s", warning));
    return text.toString();
  }

  /** Accuracies of tasks with their standard errors, and the mean of acc. */
  public static String of(ZeroShotResults results) {
    StringBuilder text = new StringBuilder();
    TaskTable.of(results).print(text);
    return text.toString();
  }

  /** The mean over tasks, if there were any, as a column. */
  private static String mean(List<ZeroShotResults> tasks) {
    return tasks.stream().map(each -> format("%8.4f   ", each.mean())).findFirst().orElse("");
  }

  private static void line(StringBuilder text, String format, Object... values) {
    text.append(format(format, values)).append(System.lineSeparator());
  }

  private static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }

  /** 6476005376 as 6.48 G. */
  static String count(long number) {
    if (number < 10_000) {
      return Long.toString(number);
    }
    double value = number;
    int unit = -1;
    while (value >= 999.5) {
      value /= 1000;
      unit++;
    }
    return format(
        value < 9.995 ? "%.2f %s" : value < 99.95 ? "%.1f %s" : "%.0f %s",
        value,
        "kMGT".charAt(unit));
  }
}
