package ai.owl.allocation;

import ai.owl.calibration.BlockStatistics;
import ai.owl.kernel.WeightedMagnitude;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import java.util.List;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;

/**
 * The layerwise outlier distribution of OWL (arXiv 2310.05175, section 3.2), as its code computes
 * it: with {@code A_ij = |W_ij| · ‖x_j‖₂} over all linear layers of a block together, {@code LOD =
 * 100 · |{A_ij > M · mean(A)}| / |A|}. Always on the dense model.
 */
public final class OutlierRatio {
  private OutlierRatio() {}

  /**
   * Counts the outliers of a block for several thresholds in one scan.
   *
   * @param statistics of the block's inputs in the dense model
   * @param thresholds the values of M
   */
  public static LayerProfile profile(
      DecoderBlock block, BlockStatistics statistics, SortedSet<Double> thresholds) {
    List<LinearLayer> linears = block.layout().linears();
    double sum = 0;
    for (LinearLayer linear : linears) {
      sum += WeightedMagnitude.sum(block.weight(linear), norms(statistics, linear));
    }
    long weights = block.layout().prunableWeights();
    float mean = (float) (sum / weights);
    float[] limits = new float[thresholds.size()];
    int t = 0;
    for (double threshold : thresholds) {
      limits[t++] = mean * (float) threshold;
    }
    long[] counts = new long[limits.length];
    for (LinearLayer linear : linears) {
      WeightedMagnitude.countAbove(block.weight(linear), norms(statistics, linear), limits, counts);
    }
    SortedMap<Double, Long> outliers = new TreeMap<>();
    t = 0;
    for (double threshold : thresholds) {
      outliers.put(threshold, counts[t++]);
    }
    return new LayerProfile(block.layout().index(), weights, outliers);
  }

  private static float[] norms(BlockStatistics statistics, LinearLayer linear) {
    return statistics.at(linear.role().input()).norms();
  }
}
