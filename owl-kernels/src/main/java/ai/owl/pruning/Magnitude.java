package ai.owl.pruning;

import ai.owl.kernel.WeightScores;
import ai.owl.tensor.Matrix;

/** {@code |W_ij|}, compared over the whole matrix: the baseline of the pruning papers. */
public record Magnitude() implements PruningMetric {
  @Override
  public String name() {
    return "magnitude";
  }

  @Override
  public boolean needsNorms() {
    return false;
  }

  @Override
  public ComparisonGroup publishedGroup() {
    return ComparisonGroup.MATRIX;
  }

  @Override
  public WeightScores scores(Matrix weight, float[] norms) {
    return WeightScores.magnitude();
  }
}
