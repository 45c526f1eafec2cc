package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ColumnNorms;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearInput;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.model.SampleModel;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.SortedSet;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class OutlierRatioTest {
  private final SampleModel sample = new SampleModel();
  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void countsScoresAboveMultiplesOfTheMeanOfTheWholeBlock() throws IOException {
    BlockStatistics statistics = randomStatistics();
    List<Double> asked = List.of(0.5, 1.0, 2.5, 3.0, 5.0, 7.0, 10.0, 1000.0);
    LayerProfile profile = profile(statistics, new TreeSet<>(asked));
    assertThat(profile.block()).isEqualTo(1);
    assertThat(profile.weights()).isEqualTo(2 * 16 * 16 + 2 * 8 * 16 + 3 * 16 * 24);
    assertThat(profile.outliers()).containsOnlyKeys(asked);
    for (double threshold : asked) {
      assertThat(profile.outliers().get(threshold))
          .as("M = %s", threshold)
          .isEqualTo(expected(statistics, threshold));
    }
    assertThat(profile.outliers().get(0.5)).isGreaterThan(profile.outliers().get(2.5));
    assertThat(profile.outliers().get(5.0)).isPositive();
    assertThat(profile.outliers().get(1000.0)).isZero();
  }

  private long expected(BlockStatistics statistics, double threshold) throws IOException {
    double sum = 0;
    long size = 0;
    for (LinearLayer linear : layout().blocks().get(1).linears()) {
      float[] norms = statistics.at(linear.role().input()).norms();
      float[] weights = sample.values(linear.weight().name());
      for (int i = 0; i < weights.length; i++) {
        sum += Math.abs(weights[i]) * norms[i % norms.length];
      }
      size += weights.length;
    }
    double limit = (float) (sum / size) * threshold;
    long count = 0;
    for (LinearLayer linear : layout().blocks().get(1).linears()) {
      float[] norms = statistics.at(linear.role().input()).norms();
      float[] weights = sample.values(linear.weight().name());
      for (int i = 0; i < weights.length; i++) {
        count += Math.abs(weights[i]) * norms[i % norms.length] > limit ? 1 : 0;
      }
    }
    return count;
  }

  @Test
  void givesTheSameForOneThresholdAsForMany() throws IOException {
    BlockStatistics statistics = randomStatistics();
    LayerProfile many = profile(statistics, new TreeSet<>(List.of(1.0, 2.0, 3.0, 4.0)));
    for (double threshold : new double[] {1, 2, 3, 4}) {
      LayerProfile one = profile(statistics, new TreeSet<>(List.of(threshold)));
      assertThat(one.outlierRatio(threshold)).isEqualTo(many.outlierRatio(threshold));
    }
  }

  /** All scores are equal, and their mean exact. */
  @Test
  void countsOnlyWhatIsStrictlyAbove() throws IOException {
    sample.tensors.values().forEach(tensor -> Arrays.fill(tensor.values(), -0.5f));
    BlockStatistics statistics = new BlockStatistics();
    for (LinearInput input : LinearInput.values()) {
      double[] sums = new double[input == LinearInput.MLP_OUTPUT ? 24 : 16];
      Arrays.fill(sums, 4);
      statistics.put(input, new ColumnNorms(sums));
    }
    LayerProfile profile = profile(statistics, new TreeSet<>(List.of(0.999, 1.0)));
    assertThat(profile.outlierRatio(1)).isZero();
    assertThat(profile.outlierRatio(0.999)).isEqualTo(100);
  }

  @Test
  void findsNothingWhereAllActivationsAreZero() throws IOException {
    BlockStatistics statistics = new BlockStatistics();
    for (LinearInput input : LinearInput.values()) {
      statistics.put(input, new ColumnNorms(input == LinearInput.MLP_OUTPUT ? 24 : 16));
    }
    assertThat(profile(statistics, new TreeSet<>(List.of(5.0))).outlierRatio(5)).isZero();
  }

  private LayerProfile profile(BlockStatistics statistics, SortedSet<Double> thresholds)
      throws IOException {
    ModelLayout model = layout();
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(model.config(), model.blocks().get(1), reader)) {
      return OutlierRatio.profile(block, statistics, thresholds);
    }
  }

  private ModelLayout layout() throws IOException {
    return sample.layout(storage);
  }

  private static BlockStatistics randomStatistics() {
    Random random = new Random(3);
    BlockStatistics statistics = new BlockStatistics();
    for (LinearInput input : LinearInput.values()) {
      int features = input == LinearInput.MLP_OUTPUT ? 24 : 16;
      double[] sums = new double[features];
      for (int j = 0; j < features; j++) {
        sums[j] = Math.exp(2 * random.nextGaussian()) * (1 + input.ordinal());
      }
      statistics.put(input, new ColumnNorms(sums));
    }
    return statistics;
  }
}
