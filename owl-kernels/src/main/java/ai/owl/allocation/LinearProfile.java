package ai.owl.allocation;

import ai.owl.model.LinearLayer;
import java.io.Serializable;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What an allocator may know of one linear layer.
 *
 * @param name full name, such as {@code model.layers.3.mlp.up_proj}
 * @param rows out_features
 * @param cols in_features
 * @param scoreSum {@code Σ |W_ij| · ‖x_j‖₂}; NaN if nobody measured
 * @param outliers for every threshold M asked for, how many scores exceed M times the mean score of
 *     this layer (not of its block); empty if nobody counted
 */
public record LinearProfile(
    String name, long rows, int cols, double scoreSum, SortedMap<Double, Long> outliers)
    implements Serializable {
  public LinearProfile {
    outliers = new TreeMap<>(outliers);
  }

  /** A layer of which only the shape is known. */
  public static LinearProfile ofShape(LinearLayer linear) {
    return new LinearProfile(
        linear.name(), linear.outFeatures(), linear.inFeatures(), Double.NaN, new TreeMap<>());
  }

  /** Number of weights. */
  public long weights() {
    return rows * cols;
  }
}
