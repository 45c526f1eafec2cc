package ai.owl.allocation;

import java.io.Serializable;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What an allocator may know of a block.
 *
 * @param block 0-based index
 * @param weights number of prunable weights
 * @param outliers for every threshold M asked for, how many weights are outliers; empty if nobody
 *     counted
 */
public record LayerProfile(int block, long weights, SortedMap<Double, Long> outliers)
    implements Serializable {
  public LayerProfile {
    outliers = new TreeMap<>(outliers);
  }

  /** A profile of a block in which no outliers were counted. */
  public static LayerProfile ofSize(int block, long weights) {
    return new LayerProfile(block, weights, new TreeMap<>());
  }

  /**
   * The block's layerwise outlier distribution (LOD) at threshold M, in percent as the paper gives
   * it.
   */
  public double outlierRatio(double threshold) {
    Long count = outliers.get(threshold);
    if (count == null) {
      throw new IllegalArgumentException(
          "Cannot give the outlier ratio of block "
              + block
              + " at threshold "
              + threshold
              + ": counted were "
              + outliers.keySet());
    }
    return 100.0 * count / weights;
  }
}
