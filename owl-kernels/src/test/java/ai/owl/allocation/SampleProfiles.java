package ai.owl.allocation;

import ai.owl.kernel.ScoreHistogram;
import ai.owl.kernel.WeightScores;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.function.IntFunction;

/** Profiles of models that exist only in tests. */
final class SampleProfiles {
  private SampleProfiles() {}

  /** Blocks of one linear layer each, 100 x 100, given by what is made of a shape. */
  static List<LayerProfile> blocks(int count, IntFunction<LinearProfile> layer) {
    List<LayerProfile> profiles = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      LinearProfile linear = layer.apply(i);
      profiles.add(new LayerProfile(i, linear.weights(), linear.outliers(), List.of(linear)));
    }
    return profiles;
  }

  static LinearProfile shape(String name, long rows, int cols) {
    return new LinearProfile(name, rows, cols, Double.NaN, new TreeMap<>());
  }

  /** One block of several linear layers. */
  static LayerProfile block(int index, LinearProfile... linears) {
    long weights = Arrays.stream(linears).mapToLong(LinearProfile::weights).sum();
    return new LayerProfile(index, weights, new TreeMap<>(), List.of(linears));
  }

  static LinearProfile withOutliers(
      String name, long rows, int cols, double threshold, long count) {
    TreeMap<Double, Long> outliers = new TreeMap<>();
    outliers.put(threshold, count);
    return new LinearProfile(name, rows, cols, Double.NaN, outliers);
  }

  /** A layer of one row with these weights. */
  static LinearProfile withMagnitudes(String name, float... weights) {
    return shape(name, 1, weights.length).withMagnitudes(histogram(weights));
  }

  static ScoreHistogram histogram(float... scores) {
    try (Matrix weight = Matrix.of(new float[][] {scores})) {
      return ScoreHistogram.of(weight, WeightScores.magnitude());
    }
  }

  static double[] all(SparsityAllocation allocation, List<LayerProfile> profiles) {
    List<Double> all = new ArrayList<>();
    for (LayerProfile profile : profiles) {
      for (int i = 0; i < profile.linears().size(); i++) {
        all.add(allocation.sparsity(profile.block(), i));
      }
    }
    return all.stream().mapToDouble(s -> s).toArray();
  }
}
