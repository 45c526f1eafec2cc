package ai.owl.pruning;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.calibration.ColumnNorms;
import ai.owl.kernel.ZeroCount;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class WandaTest {
  private final Pruner wanda = new MetricPruner(new Wanda());

  @Test
  void keepsTheLargestScoresInEachRow() {
    try (Matrix weight =
        Matrix.of(new float[][] {{1f, -8f, 3f, 4f}, {9f, 1f, -1f, 2f}, {1f, 1f, 1f, -1f}})) {
      prune(weight, new float[] {10f, 1f, 0.5f, 3f}, 0.5);
      assertThat(weight.toArray()).containsExactly(1f, 0f, 0f, 4f, 9f, 0f, 0f, 2f, 1f, 0f, 0f, -1f);
    }
  }

  /** Python's {@code int(cols * sparsity)}. */
  @ParameterizedTest
  @CsvSource({
    "4096, 0.7, 2867",
    "11008, 0.7, 7705",
    "70, 0.7, 49",
    "10, 0.7, 7",
    "10, 0.3, 3",
    "10, 0.29999999, 2",
    "10, 0.30000000000000004, 3",
    "100, 0.57, 56",
    "100, 0.29, 28",
    "100, 0.1, 10",
    "7, 0.5, 3",
    "31, 0.99, 30",
    "31, 0.01, 0",
    "31, 0, 0",
    "1, 0.9999999999999999, 0",
    "4097, 0.9999999999999999, 4096",
  })
  void removesTheFloorOfTheShareOfEachRow(int cols, double sparsity, int removed) {
    try (Matrix weight = RandomMatrix.of(1, 3, cols)) {
      prune(weight, RandomMatrix.norms(2, cols), sparsity);
      for (int r = 0; r < 3; r++) {
        float[] row = new float[cols];
        weight.row(r, row);
        try (Matrix alone = Matrix.of(new float[][] {row})) {
          assertThat(ZeroCount.of(alone)).isEqualTo(removed);
        }
      }
    }
  }

  @Test
  void changesNothingAtSparsityZero() {
    try (Matrix weight = Matrix.of(new float[][] {{0f, -0f, 1e-30f}})) {
      prune(weight, new float[3], 0);
      assertThat(weight.toArray()).containsExactly(0f, -0f, 1e-30f);
    }
  }

  @Test
  void writesPositiveZeros() {
    try (Matrix weight = Matrix.of(new float[][] {{-1f, -2f, -3f, -4f}})) {
      prune(weight, new float[] {1f, 1f, 1f, 1f}, 0.5);
      assertThat(weight.toArray()).containsExactly(0f, 0f, -3f, -4f);
      assertThat(Float.floatToRawIntBits(weight.toArray()[0])).isZero();
    }
  }

  @Test
  void needsStatistics() {
    assertThat(wanda.needsStatistics()).isTrue();
    assertThat(wanda.name()).isEqualTo("wanda");
  }

  private void prune(Matrix weight, float[] norms, double sparsity) {
    double[] squares = new double[norms.length];
    for (int j = 0; j < norms.length; j++) {
      squares[j] = (double) norms[j] * norms[j];
    }
    wanda.prune(
        weight, Optional.of(new ColumnNorms(squares)), new SparsityPattern.Unstructured(sparsity));
  }
}
