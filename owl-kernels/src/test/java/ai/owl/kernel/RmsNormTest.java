package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class RmsNormTest {
  @Test
  void dividesByTheRootMeanSquareAndTakesTheGain() {
    for (int cols : new int[] {1, 7, 8, 31, 207, 4098}) {
      for (float scale : new float[] {1f, 1e-3f, 1e4f}) {
        check(7, cols, scale, 1e-5f);
      }
    }
    check(1, 207, 1f, 0f);
    check(70, 4098, 1f, 1e-6f);
  }

  private static void check(int rows, int cols, float scale, float epsilon) {
    float[] values = RandomMatrix.vector(5, rows * cols);
    for (int i = 0; i < values.length; i++) {
      values[i] *= scale;
    }
    float[] gain = RandomMatrix.vector(6, cols);
    try (Matrix x = RandomMatrix.of(values, rows, cols);
        Matrix out = RandomMatrix.filled(Float.NaN, rows, cols)) {
      RmsNorm.apply(x, gain, epsilon, out);
      Truth truth = new Truth(rows, cols);
      for (int r = 0; r < rows; r++) {
        double squares = 0;
        for (int j = 0; j < cols; j++) {
          squares += (double) values[r * cols + j] * values[r * cols + j];
        }
        double root = Math.sqrt(squares / cols + epsilon);
        for (int j = 0; j < cols; j++) {
          double expected = values[r * cols + j] / root * gain[j];
          truth.set(r, j, expected, 3e-7 * Math.abs(expected));
        }
      }
      truth.holdsFor(out);
      assertThat(x.toArray()).isEqualTo(values);
      RmsNorm.apply(x, gain, epsilon, x);
      assertThat(x.toArray()).as("in place").isEqualTo(out.toArray());
    }
  }

  @Test
  void takesEveryHeadByItself() {
    float[] gain = RandomMatrix.vector(6, 31);
    try (Matrix heads = RandomMatrix.of(5, 3, 4 * 31);
        Matrix one = new Matrix(3, 31)) {
      float[] before = heads.toArray();
      RmsNorm.apply(heads, gain, 1e-5f, heads);
      for (int head = 0; head < 4; head++) {
        float[] part = new float[31];
        float[] found = new float[31];
        for (int r = 0; r < 3; r++) {
          System.arraycopy(before, (4 * r + head) * 31, part, 0, 31);
          one.setRow(r, part);
        }
        RmsNorm.apply(one, gain, 1e-5f, one);
        for (int r = 0; r < 3; r++) {
          heads.copyTo(r, head * 31, found, 0, 31);
          one.row(r, part);
          assertThat(found).as("row %d, head %d", r, head).isEqualTo(part);
        }
      }
    }
  }

  @Test
  void leavesARowOfZerosAtZero() {
    float[] gain = RandomMatrix.norms(1, 8);
    try (Matrix x = RandomMatrix.filled(0f, 2, 8)) {
      RmsNorm.apply(x, gain, 1e-5f, x);
      assertThat(x.toArray()).containsOnly(0f);
    }
  }

  @Test
  void standsNumbersWhoseSquaresOverflowFloat32() {
    float[] gain = new float[31];
    Arrays.fill(gain, 1f);
    for (float value : new float[] {1e30f, 1e-30f}) {
      try (Matrix x = RandomMatrix.filled(value, 1, 31)) {
        RmsNorm.apply(x, gain, 0f, x);
        assertThat(x.toArray()).containsOnly(1f);
      }
    }
  }
}
