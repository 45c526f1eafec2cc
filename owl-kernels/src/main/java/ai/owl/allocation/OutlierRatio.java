package ai.owl.allocation;

import ai.owl.calibration.BlockStatistics;
import ai.owl.kernel.WeightedMagnitude;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
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
   * Counts the outliers of a block, and of each of its linear layers against its own mean, for
   * several thresholds in one scan.
   *
   * @param statistics of the block's inputs in the dense model
   * @param thresholds the values of M
   */
  public static LayerProfile profile(
      DecoderBlock block, BlockStatistics statistics, SortedSet<Double> thresholds) {
    List<LinearLayer> linears = block.layout().linears();
    double[] sums = new double[linears.size()];
    double sum = 0;
    for (int i = 0; i < sums.length; i++) {
      try (Matrix weight = block.weight(linears.get(i))) {
        sums[i] = WeightedMagnitude.sum(weight, norms(statistics, linears.get(i)));
      }
      sum += sums[i];
    }
    long weights = block.layout().prunableWeights();
    int count = thresholds.size();
    long[] inBlock = new long[count];
    List<LinearProfile> profiles = new ArrayList<>();
    for (int i = 0; i < sums.length; i++) {
      LinearLayer linear = linears.get(i);
      // The same scan counts against the mean of the block and against the layer's own.
      float[] limits = new float[2 * count];
      limits(limits, 0, (float) (sum / weights), thresholds);
      limits(limits, count, (float) (sums[i] / linear.weight().elements()), thresholds);
      long[] counts = new long[2 * count];
      try (Matrix weight = block.weight(linear)) {
        WeightedMagnitude.countAbove(weight, norms(statistics, linear), limits, counts);
      }
      for (int t = 0; t < count; t++) {
        inBlock[t] += counts[t];
      }
      profiles.add(
          new LinearProfile(
              linear.name(),
              linear.outFeatures(),
              linear.inFeatures(),
              sums[i],
              byThreshold(thresholds, counts, count)));
    }
    return new LayerProfile(
        block.layout().index(), weights, byThreshold(thresholds, inBlock, 0), profiles);
  }

  private static void limits(float[] limits, int at, float mean, SortedSet<Double> thresholds) {
    int t = at;
    for (double threshold : thresholds) {
      limits[t++] = mean * (float) threshold;
    }
  }

  private static SortedMap<Double, Long> byThreshold(
      SortedSet<Double> thresholds, long[] counts, int from) {
    SortedMap<Double, Long> outliers = new TreeMap<>();
    int t = from;
    for (double threshold : thresholds) {
      outliers.put(threshold, counts[t++]);
    }
    return outliers;
  }

  private static float[] norms(BlockStatistics statistics, LinearLayer linear) {
    return statistics.at(linear.role().input()).norms();
  }
}
