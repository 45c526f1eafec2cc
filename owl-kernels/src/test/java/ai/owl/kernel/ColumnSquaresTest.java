package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.math.BigDecimal;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ColumnSquaresTest {
  @Test
  void addsTheSquaresOfEveryColumn() {
    for (int cols : new int[] {1, 7, 8, 31, 207, 4098}) {
      for (int rows : new int[] {1, 7, 207}) {
        try (Matrix x = RandomMatrix.of(5, rows, cols)) {
          float[] values = x.toArray();
          double[] sums = new double[cols];
          Arrays.fill(sums, 10);
          ColumnSquares.add(x, sums);
          for (int j = 0; j < cols; j++) {
            double expected = 10;
            for (int r = rows - 1; r >= 0; r--) {
              expected += (double) values[r * cols + j] * values[r * cols + j];
            }
            if (!(Math.abs(sums[j] - expected) <= 2e-16 * rows * expected)) {
              assertThat(sums[j]).as("column %d of %d", j, cols).isEqualTo(expected);
            }
          }
        }
      }
    }
  }

  /** In float32 the small numbers would be lost beside the first, and its square overflow. */
  @Test
  void keepsWhatFloat32WouldLose() {
    float[] values = new float[1001];
    Arrays.fill(values, 1f);
    values[0] = 1e5f;
    try (Matrix x = RandomMatrix.of(values, 1001, 1);
        Matrix big = RandomMatrix.filled(1e30f, 3, 1)) {
      double[] sums = new double[1];
      ColumnSquares.add(x, sums);
      double square = new BigDecimal(1e5f).pow(2).doubleValue();
      assertThat(sums[0]).isEqualTo(square + 1000);
      ColumnSquares.add(big, sums);
      assertThat(sums[0]).isCloseTo(3e60, within(1e54));
    }
  }

  @Test
  void addsNothingForNoRows() {
    try (Matrix x = new Matrix(0, 2)) {
      double[] sums = {1, 2};
      ColumnSquares.add(x, sums);
      assertThat(sums).containsExactly(1, 2);
    }
  }
}
