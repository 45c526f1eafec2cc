package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import org.junit.jupiter.api.Test;

/** Against the definition in double precision. */
class LayerNormTest {
  @Test
  void takesMeanAndDeviationOut() {
    for (int cols : new int[] {1, 2, 7, 8, 31, 207, 4098}) {
      check(RandomMatrix.vector(1, 3 * cols), cols, 1e-5f);
    }
  }

  /** OPT's hidden states have features in the hundreds, the same for every token. */
  @Test
  void keepsItsDigitsFarFromZero() {
    float[] x = RandomMatrix.vector(1, 3 * 207);
    for (int i = 0; i < x.length; i++) {
      x[i] = 300 + x[i];
    }
    check(x, 207, 1e-5f);
  }

  @Test
  void isBiasAloneWhereAllFeaturesAreEqual() {
    try (Matrix x = RandomMatrix.filled(3f, 2, 8)) {
      float[] bias = RandomMatrix.vector(2, 8);
      LayerNorm.apply(x, RandomMatrix.vector(1, 8), bias, 1e-5f, x);
      assertThat(x.firstRows(1).toArray()).isEqualTo(bias);
    }
  }

  @Test
  void passesNanOnInItsRowOnly() {
    float[] values = RandomMatrix.vector(1, 16);
    values[3] = Float.NaN;
    try (Matrix x = RandomMatrix.of(values, 2, 8)) {
      LayerNorm.apply(x, RandomMatrix.vector(1, 8), RandomMatrix.vector(2, 8), 1e-5f, x);
      assertThat(x.firstRows(1).toArray()).containsOnly(Float.NaN);
      assertThat(x.rows(1, 1).toArray()).doesNotContain(Float.NaN);
    }
  }

  private static void check(float[] values, int cols, float epsilon) {
    int rows = values.length / cols;
    float[] gain = RandomMatrix.vector(7, cols);
    float[] bias = RandomMatrix.vector(8, cols);
    Truth truth = new Truth(rows, cols);
    for (int r = 0; r < rows; r++) {
      double mean = 0;
      for (int j = 0; j < cols; j++) {
        mean += (double) values[r * cols + j] / cols;
      }
      double variance = 0;
      for (int j = 0; j < cols; j++) {
        variance += Math.pow(values[r * cols + j] - mean, 2) / cols;
      }
      for (int j = 0; j < cols; j++) {
        double normal = (values[r * cols + j] - mean) / Math.sqrt(variance + epsilon);
        double product = normal * gain[j];
        truth.set(r, j, product + bias[j], 3e-7 * (1e-6 + Math.abs(product) + Math.abs(bias[j])));
      }
    }
    try (Matrix x = RandomMatrix.of(values, rows, cols);
        Matrix out = new Matrix(rows, cols)) {
      LayerNorm.apply(x, gain, bias, epsilon, out);
      truth.holdsFor(out);
      assertThat(x.toArray()).isEqualTo(values);
      LayerNorm.apply(x, gain, bias, epsilon, x);
      assertThat(x.toArray()).isEqualTo(out.toArray());
    }
  }
}
