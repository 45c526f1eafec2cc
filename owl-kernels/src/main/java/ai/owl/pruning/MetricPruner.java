package ai.owl.pruning;

import ai.owl.calibration.ActivationStatistics;
import ai.owl.calibration.ColumnNorms;
import ai.owl.kernel.SmallestWeights;
import ai.owl.kernel.WeightScores;
import ai.owl.tensor.Matrix;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Removes the weights with the lowest scores and leaves the others as they are.
 *
 * @param metric the score
 * @param group which weights are compared with each other; an N:M pattern compares those of each
 *     group of M instead
 */
public record MetricPruner(PruningMetric metric, ComparisonGroup group) implements Pruner {
  /** A metric as published. */
  public MetricPruner(PruningMetric metric) {
    this(metric, metric.publishedGroup());
  }

  @Override
  public String name() {
    return metric.name();
  }

  @Override
  public Map<String, String> settings() {
    return group == metric.publishedGroup()
        ? Map.of()
        : Map.of("comparison-group", group.toString());
  }

  @Override
  public Evidence needs() {
    return metric.needsNorms() ? Evidence.NORMS : Evidence.NONE;
  }

  @Override
  public List<String> prune(
      Matrix weight, Optional<ActivationStatistics> statistics, SparsityPattern pattern) {
    WeightScores scores = metric.scores(weight, norms(statistics));
    if (pattern instanceof SparsityPattern.NofM nm) {
      SmallestWeights.zeroInGroups(weight, scores, nm.of() - nm.kept(), nm.of());
    } else if (group == ComparisonGroup.ROW) {
      SmallestWeights.zeroInRows(weight, scores, (int) (weight.cols() * pattern.sparsity()));
    } else if (pattern.sparsity() > 0) {
      // Rank 0 would remove the smallest weight although none was asked for.
      SmallestWeights.zeroUpToRank(weight, scores, (long) (weight.size() * pattern.sparsity()));
    }
    return List.of();
  }

  private float[] norms(Optional<ActivationStatistics> statistics) {
    if (!metric.needsNorms()) {
      return new float[0];
    }
    return ((ColumnNorms) statistics.orElseThrow()).norms();
  }
}
