package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class WeightedMagnitudeTest {
  private static final int[] SIZES = {1, 7, 8, 31, 207};

  @Test
  void addsUpAllScores() {
    for (int rows : SIZES) {
      for (int cols : SIZES) {
        checkSum(rows, cols);
      }
    }
    checkSum(700, 409); // more than 2^18 elements
  }

  private static void checkSum(int rows, int cols) {
    float[] norms = RandomMatrix.norms(1, cols);
    try (Matrix weight = RandomMatrix.of(2, rows, cols)) {
      float[] values = weight.toArray();
      double expected = 0;
      for (int i = 0; i < values.length; i++) {
        expected += (double) Math.abs(values[i]) * norms[i % cols];
      }
      assertThat(WeightedMagnitude.sum(weight, norms)).isCloseTo(expected, within(6e-8 * expected));
    }
  }

  @Test
  void roundsEachScoreToFloat32AsThePublishedCode() {
    float weight = 1 + 0x1p-23f;
    try (Matrix one = RandomMatrix.of(new float[] {-weight}, 1, 1)) {
      assertThat(WeightedMagnitude.sum(one, new float[] {weight}))
          .isEqualTo(weight * weight)
          .isNotEqualTo((double) weight * weight);
    }
  }

  @Test
  void countsScoresStrictlyAboveEachThreshold() {
    for (int rows : SIZES) {
      for (int cols : SIZES) {
        checkCounts(rows, cols);
      }
    }
    checkCounts(700, 409);
  }

  private static void checkCounts(int rows, int cols) {
    float[] norms = RandomMatrix.norms(1, cols);
    try (Matrix weight = RandomMatrix.of(2, rows, cols)) {
      float[] values = weight.toArray();
      float[] scores = new float[values.length];
      for (int i = 0; i < values.length; i++) {
        scores[i] = Math.abs(values[i]) * norms[i % cols];
      }
      float[] thresholds = {0.5f, scores[scores.length / 2], 0f, Float.MAX_VALUE};
      long[] counts = {0, 1000, 0, 0};
      WeightedMagnitude.countAbove(weight, norms, thresholds, counts);
      long[] expected = {0, 1000, 0, 0};
      for (int t = 0; t < thresholds.length; t++) {
        for (float score : scores) {
          expected[t] += score > thresholds[t] ? 1 : 0;
        }
      }
      assertThat(counts).isEqualTo(expected);
    }
  }

  @Test
  void doesNotCountAScoreThatEqualsTheThreshold() {
    try (Matrix weight = RandomMatrix.of(new float[] {2f, -3f, 3f, Math.nextUp(3f)}, 2, 2)) {
      long[] counts = new long[2];
      WeightedMagnitude.countAbove(weight, new float[] {1f, 1f}, new float[] {3f, 0f}, counts);
      assertThat(counts).containsExactly(1, 4);
    }
  }

  /** Chunks of 64 rows, added up in their order, whatever thread does which. */
  @Test
  void givesTheSameSumOnSeveralThreadsAsOnOne() {
    int cols = 500;
    int chunks = 12;
    float[] norms = RandomMatrix.norms(1, cols);
    try (Matrix whole = RandomMatrix.of(2, 64 * chunks - 3, cols)) {
      double expected = 0;
      float[] row = new float[cols];
      for (int chunk = 0; chunk < chunks; chunk++) {
        int rows = (int) Math.min(64, whole.rows() - 64 * chunk);
        try (Matrix part = new Matrix(rows, cols)) {
          for (int r = 0; r < rows; r++) {
            whole.row(64 * chunk + r, row);
            part.setRow(r, row);
          }
          expected += WeightedMagnitude.sum(part, norms);
        }
      }
      double[] found = new double[20];
      for (int i = 0; i < found.length; i++) {
        found[i] = WeightedMagnitude.sum(whole, norms);
      }
      double[] same = new double[20];
      Arrays.fill(same, expected);
      assertThat(found).isEqualTo(same);
    }
  }
}
