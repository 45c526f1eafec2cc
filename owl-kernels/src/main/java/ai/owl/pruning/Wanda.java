package ai.owl.pruning;

import ai.owl.kernel.SmallestWeights;
import ai.owl.tensor.Matrix;

/**
 * Wanda (arXiv 2306.11695): in every row, removes the {@code floor(in_features · sparsity)} weights
 * with the smallest {@code |W_ij| · ‖x_j‖₂}, ties by the lower column.
 */
public record Wanda() implements Pruner {
  @Override
  public String name() {
    return "wanda";
  }

  @Override
  public boolean needsStatistics() {
    return true;
  }

  @Override
  public void prune(Matrix weight, float[] norms, double sparsity) {
    SmallestWeights.zeroInRows(weight, norms, (int) (weight.cols() * sparsity));
  }
}
