package ai.owl.allocation;

import ai.owl.model.BlockLayout;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What an allocator may know of a block.
 *
 * @param block 0-based index
 * @param weights number of prunable weights
 * @param outliers for every threshold M asked for, how many weights are outliers; empty if nobody
 *     counted
 * @param linears the block's linear layers, in the layout's order; empty if only the block as a
 *     whole is known
 */
public record LayerProfile(
    int block, long weights, SortedMap<Double, Long> outliers, List<LinearProfile> linears)
    implements Serializable {
  public LayerProfile {
    outliers = new TreeMap<>(outliers);
    linears = List.copyOf(linears);
  }

  /** A profile of a block as a whole. */
  public LayerProfile(int block, long weights, SortedMap<Double, Long> outliers) {
    this(block, weights, outliers, List.of());
  }

  /** A profile of a block in which nothing was measured. */
  public static LayerProfile ofShapes(BlockLayout block) {
    return new LayerProfile(
        block.index(),
        block.prunableWeights(),
        new TreeMap<>(),
        block.linears().stream().map(LinearProfile::ofShape).toList());
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

  /** The same block with other knowledge of its linear layers. */
  public LayerProfile withLinears(List<LinearProfile> measured) {
    return new LayerProfile(block, weights, outliers, measured);
  }

  /** What was measured of a block at one time and at another. */
  public LayerProfile with(LayerProfile other) {
    SortedMap<Double, Long> counted = new TreeMap<>(outliers);
    counted.putAll(other.outliers);
    List<LinearProfile> both = new ArrayList<>();
    for (int i = 0; i < linears.size(); i++) {
      both.add(linears.get(i).with(other.linears.get(i)));
    }
    return new LayerProfile(block, weights, counted, both);
  }

  /** Whether so much is known of the block. */
  public boolean knows(Evidence evidence, Set<Double> thresholds) {
    return switch (evidence) {
      case OUTLIERS -> outliers.keySet().containsAll(thresholds) && !outliers.isEmpty();
      case SCORE_SUMS -> linears.stream().noneMatch(linear -> Double.isNaN(linear.scoreSum()));
      case SCORES -> linears.stream().noneMatch(linear -> linear.scores().isEmpty());
      case MAGNITUDES -> linears.stream().noneMatch(linear -> linear.magnitudes().isEmpty());
      case SPECTRA -> linears.stream().noneMatch(linear -> linear.spectrum().isEmpty());
    };
  }

  /** What a report keeps: all but histograms and spectra, which are large. */
  public LayerProfile withoutDistributions() {
    return withLinears(linears.stream().map(LinearProfile::withoutDistributions).toList());
  }
}
