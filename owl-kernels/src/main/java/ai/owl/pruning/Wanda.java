package ai.owl.pruning;

import ai.owl.kernel.WeightScores;
import ai.owl.tensor.Matrix;

/** Wanda (arXiv 2306.11695): {@code |W_ij| · ‖x_j‖₂}, compared within each output row. */
public record Wanda() implements PruningMetric {
  @Override
  public String name() {
    return "wanda";
  }

  @Override
  public boolean needsNorms() {
    return true;
  }

  @Override
  public ComparisonGroup publishedGroup() {
    return ComparisonGroup.ROW;
  }

  @Override
  public WeightScores scores(Matrix weight, float[] norms) {
    return WeightScores.weighted(norms);
  }
}
