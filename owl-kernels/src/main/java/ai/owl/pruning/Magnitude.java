package ai.owl.pruning;

import ai.owl.kernel.SmallestWeights;
import ai.owl.tensor.Matrix;

/**
 * Magnitude pruning as published beside Wanda: removes every weight of the matrix whose {@code
 * |W_ij|} is at most the one at rank {@code floor(size · sparsity)}, so one more than the share,
 * and all its equals.
 */
public record Magnitude() implements Pruner {
  @Override
  public String name() {
    return "magnitude";
  }

  @Override
  public boolean needsStatistics() {
    return false;
  }

  @Override
  public void prune(Matrix weight, float[] norms, double sparsity) {
    if (sparsity > 0) { // rank 0 would remove the smallest weight although none was asked for
      SmallestWeights.zeroUpToRank(weight, (long) (weight.size() * sparsity));
    }
  }
}
