package ai.owl.pruning;

import ai.owl.kernel.WeightScores;
import ai.owl.tensor.Matrix;
import java.io.Serializable;

/**
 * A score for every weight; those with the lowest go. The {@code permits} list is the catalogue.
 */
public sealed interface PruningMetric extends Serializable permits Magnitude, Ria, Wanda {
  /** The name that the command line uses. */
  String name();

  /** Whether it looks at the norms of the activations. */
  boolean needsNorms();

  /** Which weights its authors compare with each other. */
  ComparisonGroup publishedGroup();

  /**
   * The scores of a matrix's weights, before any of them is changed.
   *
   * @param weight (out_features, in_features)
   * @param norms ‖x_j‖₂ of the input features; an empty array for metrics that need none
   */
  WeightScores scores(Matrix weight, float[] norms);
}
