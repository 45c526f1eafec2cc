package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import org.junit.jupiter.api.Test;

class SwiGluTest {
  @Test
  void multipliesTheActivatedGateByTheOtherProjection() {
    for (int cols : new int[] {1, 7, 8, 31, 207, 4098}) {
      check(RandomMatrix.vector(1, 3 * cols), RandomMatrix.vector(2, 3 * cols), 3, cols);
    }
  }

  @Test
  void standsLargeNumbersOfEitherSign() {
    float[] gate = {0f, 20f, 80f, 88f, 89f, 104f, 1e4f, 1e30f, Float.MAX_VALUE, Float.MIN_VALUE};
    float[] up = new float[gate.length];
    for (float factor : new float[] {1f, -1f, 1e-3f, 0f}) {
      for (float sign : new float[] {1f, -1f}) {
        float[] signed = new float[gate.length];
        for (int j = 0; j < gate.length; j++) {
          signed[j] = sign * gate[j];
          up[j] = factor;
        }
        check(signed, up, 1, gate.length);
      }
    }
  }

  private static void check(float[] gates, float[] ups, int rows, int cols) {
    try (Matrix gate = RandomMatrix.of(gates, rows, cols);
        Matrix up = RandomMatrix.of(ups, rows, cols)) {
      SwiGlu.apply(gate, up);
      Truth truth = new Truth(rows, cols);
      for (int i = 0; i < gates.length; i++) {
        double expected = gates[i] / (1 + Math.exp(-(double) gates[i])) * ups[i];
        // Below -88 e^-x is beyond float32, and the result 0 instead of some 1e-37.
        truth.set(i / cols, i % cols, expected, 1e-36 + 3e-7 * Math.abs(expected));
      }
      truth.holdsFor(gate);
      assertThat(up.toArray()).isEqualTo(ups);
    }
  }
}
