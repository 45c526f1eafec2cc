package ai.owl.spark.report;

import ai.owl.allocation.Uniform;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pipeline.SweepReport.Row;
import ai.owl.pruning.SparsityPattern;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** What there is to say of a sweep: its methods, the best ones, what the allocation changes. */
final class SweepFindings {
  private final SweepReport sweep;
  private final double dense;
  private final List<Double> sparsities;
  private final Map<String, List<Row>> methods = new LinkedHashMap<>();
  private final boolean propagations;

  SweepFindings(SweepReport sweep) {
    this.sweep = sweep;
    this.dense = sweep.dense().value();
    this.sparsities =
        sweep.rows().stream().map(row -> row.options().sparsity()).distinct().sorted().toList();
    this.propagations =
        sweep.rows().stream()
                .map(Row::options)
                .filter(options -> options.pruner().needsStatistics())
                .map(PruneOptions::propagation)
                .distinct()
                .count()
            > 1;
    for (Row row : sweep.rows()) {
      methods.computeIfAbsent(method(row), name -> new ArrayList<>()).add(row);
    }
  }

  /** All that were tried, ascending. */
  List<Double> sparsities() {
    return sparsities;
  }

  /** The rows of each method, in the order of the grid. */
  Map<String, List<Row>> methods() {
    return methods;
  }

  /** What is the same at every sparsity; without the propagation if there is only one. */
  String method(Row row) {
    return metric(row) + " " + row.options().allocator().label();
  }

  /**
   * What chose the weights; with the pattern if there is one, and the propagation if there are
   * several.
   */
  String metric(Row row) {
    PruneOptions options = row.options();
    String name = options.pruner().label();
    if (!(options.pattern() instanceof SparsityPattern.Unstructured)) {
      name += " " + options.pattern().label();
    }
    return propagations && options.pruner().needsStatistics()
        ? name + " (" + options.propagation().label() + ")"
        : name;
  }

  /** The best row at a sparsity, if any there has a number. */
  Optional<Row> best(double sparsity) {
    return sweep.best(sparsity).filter(SweepFindings::plottable);
  }

  /** Whether the perplexity has a place on a logarithmic axis. */
  static boolean plottable(Row row) {
    double value = row.pruned().value();
    return Double.isFinite(value) && value > 0;
  }

  /** The best row at the highest sparsity that is of use; if none is, at the lowest. */
  Optional<Row> focus() {
    Optional<Row> lowest = Optional.empty();
    for (int i = sparsities.size() - 1; i >= 0; i--) {
      Optional<Row> best = best(sparsities.get(i));
      if (best.isPresent()) {
        if (best.get().pruned().value() <= Page.EXPLODED * dense) {
          return best;
        }
        lowest = best;
      }
    }
    return lowest;
  }

  /** The row whose blocks are worth a picture: the best there that spreads sparsity unevenly. */
  Optional<Row> shown() {
    Optional<Row> focus = focus();
    if (focus.isEmpty()) {
      return focus;
    }
    double sparsity = focus.get().options().sparsity();
    return sweep.rows().stream()
        .filter(row -> row.options().sparsity() == sparsity && plottable(row))
        .filter(row -> !(row.options().allocator() instanceof Uniform))
        .min(Comparator.comparingDouble(row -> row.pruned().value()))
        .or(() -> focus);
  }

  /** Those without a number last. */
  static Comparator<Row> byPerplexity() {
    return Comparator.comparingDouble(
        row -> plottable(row) ? row.pruned().value() : Double.POSITIVE_INFINITY);
  }

  /** Two rows that differ only in allocation: uniform, and the best of the others. */
  record Pair(String metric, Row uniform, Row other) {
    double change() {
      return other.pruned().value() / uniform.pruned().value() - 1;
    }
  }

  /** One for each metric and sparsity that has both. */
  List<Pair> pairs() {
    List<Pair> pairs = new ArrayList<>();
    Set<String> metrics = new LinkedHashSet<>();
    sweep.rows().forEach(row -> metrics.add(metric(row)));
    for (double sparsity : sparsities) {
      for (String metric : metrics) {
        Row uniform = null;
        Row other = null;
        for (Row row : sweep.rows()) {
          if (row.options().sparsity() != sparsity
              || !metric(row).equals(metric)
              || !plottable(row)) {
            continue;
          }
          if (row.options().allocator().name().equals("uniform")) {
            uniform = row;
          } else if (other == null || row.pruned().value() < other.pruned().value()) {
            other = row;
          }
        }
        if (uniform != null && other != null) {
          pairs.add(new Pair(metric, uniform, other));
        }
      }
    }
    return pairs;
  }
}
