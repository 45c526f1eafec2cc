package ai.owl.spark.report;

import ai.owl.evaluation.Accuracy;
import ai.owl.evaluation.Quality;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The page of one pruning run. */
final class PrunePage {
  private PrunePage() {}

  static String of(PruneReport report, Provenance provenance) {
    PruneOptions options = report.options();
    Markup out =
        Page.begin(
            "Pruning report",
            Page.name(options.model()) + ", pruned to " + Numbers.percent(options.sparsity()),
            lead(report),
            tiles(report));
    Page.warnings(out, report.findings().stream().map(Page.Warning::of).toList());
    report
        .denseTasks()
        .ifPresent(
            dense ->
                Page.section(
                    out,
                    "tasks",
                    "Zero-shot tasks",
                    () -> TaskTable.of(dense, report.prunedTasks()).table().write(out)));
    new BlockFigures(options, report.blocks()).write(out, "");
    Page.times(out, report.seconds());
    ObjectNode data = report.toJson();
    Page.provenance(out, settings(data), provenance);
    return Page.end(out, data, provenance);
  }

  private static String lead(PruneReport report) {
    PruneOptions options = report.options();
    String text =
        Numbers.format(
            "Pruning by %s with allocation %s removed %s of the weights of %d decoder %s.",
            options.pruner().name(),
            options.allocator().label(),
            Numbers.percent(report.reached()),
            report.blocks().size(),
            report.blocks().size() == 1 ? "block" : "blocks");
    if (report.dense().isEmpty() || report.pruned().isEmpty()) {
      return text + " How good it is was not measured: --evaluate does.";
    }
    double dense = report.dense().get().value();
    double pruned = report.pruned().get().value();
    if (report.dense().get() instanceof Accuracy) {
      return Numbers.format(
          "%s Top-1 accuracy went from %s to %s.",
          text, Numbers.percent(dense), Numbers.percent(pruned));
    }
    double factor = pruned / dense;
    String numbers = "from " + Numbers.perplexity(dense) + " to " + Numbers.perplexity(pruned);
    String change;
    if (!Double.isFinite(factor)) {
      change = "is not a finite number";
    } else if (factor >= 2) {
      change = "rose to " + Numbers.factor(factor) + " the dense one, " + numbers;
    } else if (factor >= 1.0005) {
      change = Numbers.format("rose by %.1f\u00a0%%, %s", 100 * (factor - 1), numbers);
    } else if (factor > 0.9995) {
      change = "stayed as it was";
    } else {
      change = Numbers.format("fell by %.1f\u00a0%%, %s", 100 * (1 - factor), numbers);
    }
    return text + " Perplexity " + change + ".";
  }

  private static List<Page.Tile> tiles(PruneReport report) {
    List<Page.Tile> tiles = new ArrayList<>();
    if (report.dense().isPresent() && report.pruned().isPresent()) {
      Quality dense = report.dense().get();
      boolean accuracy = dense instanceof Accuracy;
      tiles.add(
          new Page.Tile(
              accuracy ? "Top-1 accuracy" : "Perplexity",
              number(dense),
              number(report.pruned().get()),
              dense.basis() + (accuracy ? "; higher is better" : "; lower is better")));
    } else {
      tiles.add(new Page.Tile("Perplexity", "", Numbers.NONE, "not measured"));
    }
    report
        .denseTasks()
        .ifPresent(
            before ->
                tiles.add(
                    new Page.Tile(
                        "Mean acc of tasks",
                        Numbers.percent(before.mean()),
                        report
                            .prunedTasks()
                            .map(after -> Numbers.percent(after.mean()))
                            .orElse(Numbers.NONE),
                        TaskTable.what(before) + "; higher is better")));
    tiles.add(
        new Page.Tile(
            "Sparsity reached",
            "",
            Numbers.percent(report.reached()),
            Numbers.percent(report.options().sparsity()) + " asked"));
    tiles.add(
        new Page.Tile(
            "Weights removed",
            "",
            ReportTable.count(report.zeros()),
            "of " + ReportTable.count(report.weights()) + " in the blocks' linear layers"));
    if (Page.total(report.seconds()) > 0) {
      tiles.add(
          new Page.Tile(
              "Time",
              "",
              Numbers.duration(Page.total(report.seconds())),
              report.sequences() == 0
                  ? "no calibration"
                  : Numbers.format(
                      "%,d calibration sequences, %,d tokens",
                      report.sequences(), report.tokens())));
    }
    return tiles;
  }

  private static String number(Quality quality) {
    return quality instanceof Accuracy
        ? Numbers.percent(quality.value())
        : Numbers.perplexity(quality.value());
  }

  private static Map<String, String> settings(ObjectNode data) {
    Map<String, String> settings = new LinkedHashMap<>();
    Page.flatten("", data.path("options"), settings);
    Page.flatten("architecture", data.path("architecture"), settings);
    Page.flatten("calibration", data.path("calibration"), settings);
    if (data.has("perplexity")) {
      Page.flatten("evaluation.windows", data.path("perplexity").path("windows"), settings);
    }
    if (data.has("accuracy")) {
      Page.flatten("evaluation.images", data.path("accuracy").path("images"), settings);
    }
    Page.flatten("fingerprint", data.path("fingerprint"), settings);
    return settings;
  }
}
