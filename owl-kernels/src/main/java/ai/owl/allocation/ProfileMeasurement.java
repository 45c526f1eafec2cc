package ai.owl.allocation;

import ai.owl.calibration.BlockStatistics;
import ai.owl.kernel.ScoreHistogram;
import ai.owl.kernel.WeightScores;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.SortedSet;

/**
 * Measures a dense block in memory for the allocators. The spectra are not among it: they take so
 * long that each matrix is measured by itself, by {@link ai.owl.kernel.Spectrum#of}.
 */
public final class ProfileMeasurement {
  private ProfileMeasurement() {}

  /**
   * What was asked for of a block's activations and magnitudes.
   *
   * @param statistics of the block's inputs in the dense model; not looked at if nothing of
   *     activations is asked for
   * @param thresholds to count outliers at, whatever else is asked for of activations: a report
   *     shows them
   */
  public static LayerProfile of(
      DecoderBlock block,
      BlockStatistics statistics,
      SortedSet<Double> thresholds,
      Set<Evidence> asked) {
    LayerProfile profile =
        asked.stream().anyMatch(Evidence::isOfActivations)
            ? OutlierRatio.profile(block, statistics, thresholds)
            : LayerProfile.ofShapes(block.layout());
    List<LinearLayer> layers = block.layout().linears();
    List<LinearProfile> linears = new ArrayList<>();
    for (int i = 0; i < layers.size(); i++) {
      LinearLayer layer = layers.get(i);
      LinearProfile linear = profile.linears().get(i);
      if (asked.contains(Evidence.SCORES)) {
        float[] norms = statistics.at(layer.role().input()).norms();
        try (Matrix weight = block.weight(layer)) {
          linear = linear.withScores(ScoreHistogram.of(weight, WeightScores.weighted(norms)));
        }
      }
      if (asked.contains(Evidence.MAGNITUDES)) {
        try (Matrix weight = block.weight(layer)) {
          linear = linear.withMagnitudes(ScoreHistogram.of(weight, WeightScores.magnitude()));
        }
      }
      linears.add(linear);
    }
    return profile.withLinears(linears);
  }
}
