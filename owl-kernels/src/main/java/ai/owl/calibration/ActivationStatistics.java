package ai.owl.calibration;

import ai.owl.tensor.Matrix;
import java.io.Serializable;

/**
 * What is kept of the activations at one input of a block. A statistic is a sum over tokens: it is
 * added to, and two of them merge into one. Floating-point sums depend on their order, so whoever
 * merges does it in the order of the slices, and the result is the same for any number of tasks.
 */
public sealed interface ActivationStatistics extends Serializable permits ColumnNorms, Gram {
  /** Takes in the activations of one sequence, (tokens, in_features). */
  void add(Matrix x);
}
