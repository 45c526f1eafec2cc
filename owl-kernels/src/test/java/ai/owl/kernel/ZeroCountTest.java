package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ZeroCountTest {
  @Test
  void countsZerosOfEitherSignAndNothingElse() {
    float[] values = {0f, -0f, Float.MIN_VALUE, -Float.MIN_VALUE, 1f, Float.NaN};
    try (Matrix matrix = RandomMatrix.of(values, 2, 3)) {
      assertThat(ZeroCount.of(matrix)).isEqualTo(2);
    }
  }

  @Test
  void countsInMatricesOfAnySize() {
    int[][] shapes = {{1, 1}, {7, 8}, {31, 207}, {207, 31}, {700, 409}};
    for (int[] shape : shapes) {
      float[] values = RandomMatrix.vector(1, shape[0] * shape[1]);
      Random random = new Random(2);
      long expected = 0;
      for (int i = 0; i < values.length; i++) {
        if (random.nextInt(3) == 0) {
          values[i] = 0f;
          expected++;
        }
      }
      try (Matrix matrix = RandomMatrix.of(values, shape[0], shape[1])) {
        assertThat(ZeroCount.of(matrix)).isEqualTo(expected);
      }
    }
  }
}
