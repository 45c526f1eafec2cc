package ai.owl.pruning;

import ai.owl.tensor.Matrix;
import java.io.Serializable;

/**
 * An algorithm that prunes one weight matrix to a sparsity. The {@code permits} list is the
 * catalogue.
 */
public sealed interface Pruner extends Serializable permits Magnitude, Wanda {
  /** The name that the command line uses. */
  String name();

  /** Whether it looks at activations; if not, nobody needs to gather them for it. */
  boolean needsStatistics();

  /**
   * Sets a share of the weights to (positive) zero.
   *
   * @param weight (out_features, in_features), changed in place
   * @param norms ‖x_j‖₂ of the input features; ignored by pruners that need no statistics, which
   *     may be given an empty array
   * @param sparsity share of weights to remove, in [0, 1)
   */
  void prune(Matrix weight, float[] norms, double sparsity);
}
