package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Against the definitions in double precision. */
class ActivationTest {
  private static final float[] EDGES = {
    0f,
    1e-30f,
    1e-3f,
    0.5f,
    3f,
    5.9f,
    7.99f,
    8f,
    8.01f,
    20f,
    80f,
    88f,
    89f,
    104f,
    1e4f,
    1e30f,
    Float.MAX_VALUE,
    Float.MIN_VALUE
  };

  @ParameterizedTest
  @EnumSource
  void replacesEveryElement(Activation activation) {
    for (int cols : new int[] {1, 7, 8, 31, 207, 4098}) {
      float[] x = RandomMatrix.vector(1, 3 * cols);
      for (float scale : new float[] {1f, 4f}) {
        float[] scaled = x.clone();
        for (int i = 0; i < x.length; i++) {
          scaled[i] *= scale;
        }
        check(activation, scaled, 3, cols);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void standsLargeNumbersOfEitherSign(Activation activation) {
    check(activation, EDGES, 1, EDGES.length);
    float[] negative = EDGES.clone();
    for (int i = 0; i < negative.length; i++) {
      negative[i] = -EDGES[i];
    }
    check(activation, negative, 1, negative.length);
  }

  private static void check(Activation activation, float[] values, int rows, int cols) {
    try (Matrix x = RandomMatrix.of(values, rows, cols)) {
      activation.apply(x);
      Truth truth = new Truth(rows, cols);
      for (int i = 0; i < values.length; i++) {
        double expected = definition(activation, values[i]);
        truth.set(i / cols, i % cols, expected, tiny(activation) + 3e-7 * Math.abs(expected));
      }
      truth.holdsFor(x);
    }
  }

  /**
   * What may be zero instead: below -88 e^-x is beyond float32, and SILU 0 instead of some 1e-37;
   * the table of the normal distribution ends at -8, where GELU is some 1e-15.
   */
  private static double tiny(Activation activation) {
    return activation == Activation.GELU ? 1e-14 : 1e-36;
  }

  private static double definition(Activation activation, double x) {
    return switch (activation) {
      case SILU -> x / (1 + Math.exp(-x));
      case RELU -> x > 0 ? x : 0;
      case GELU -> x * below(x);
      case GELU_TANH -> {
        double t = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
        // 1 + tanh(t), without its cancellation below zero
        yield x * (t < 0 ? Math.exp(2 * t) / (1 + Math.exp(2 * t)) : 1 / (1 + Math.exp(-2 * t)));
      }
    };
  }

  /** The standard normal's density, integrated by Simpson's rule up to x. */
  private static double below(double x) {
    if (x > 0) {
      return 1 - below(-x);
    }
    if (x < -30) {
      return 0;
    }
    int steps = 20_000;
    double from = x - 12;
    double width = 12.0 / steps;
    double sum = 0;
    for (int i = 0; i <= steps; i++) {
      double t = from + i * width;
      double weight = i == 0 || i == steps ? 1 : i % 2 == 1 ? 4 : 2;
      sum += weight * Math.exp(-t * t / 2);
    }
    return sum * width / 3 / Math.sqrt(2 * Math.PI);
  }

  /** Published values of the standard normal's distribution function. */
  @ParameterizedTest
  @CsvSource({
    "0, 0.5",
    "1, 0.841344746068543",
    "-1, 0.158655253931457",
    "1.96, 0.975002104851780",
    "-3, 0.00134989803163009",
    "-6, 9.86587645037698e-10",
    "-40, 0",
    "40, 1"
  })
  void knowsTheNormalDistribution(double x, double below) {
    assertThat(NormalDistribution.below(x)).isCloseTo(below, within(1e-12 * below + 1e-300));
  }

  @ParameterizedTest
  @EnumSource
  void letsNanThrough(Activation activation) {
    try (Matrix x = RandomMatrix.filled(Float.NaN, 1, 3)) {
      activation.apply(x);
      assertThat(x.toArray()).containsOnly(Float.NaN);
    }
  }

  @ParameterizedTest
  @EnumSource
  void multipliesTheActivatedGateByTheOtherProjection(Activation activation) {
    for (int cols : new int[] {1, 7, 8, 31, 207, 4098}) {
      gate(activation, RandomMatrix.vector(1, 3 * cols), RandomMatrix.vector(2, 3 * cols), 3, cols);
    }
  }

  @Test
  void gatesWithLargeNumbersOfEitherSign() {
    for (float factor : new float[] {1f, -1f, 1e-3f, 0f}) {
      for (float sign : new float[] {1f, -1f}) {
        float[] signed = new float[EDGES.length];
        float[] up = new float[EDGES.length];
        for (int j = 0; j < EDGES.length; j++) {
          signed[j] = sign * EDGES[j];
          up[j] = factor;
        }
        gate(Activation.SILU, signed, up, 1, EDGES.length);
      }
    }
  }

  private static void gate(Activation activation, float[] gates, float[] ups, int rows, int cols) {
    try (Matrix gate = RandomMatrix.of(gates, rows, cols);
        Matrix up = RandomMatrix.of(ups, rows, cols)) {
      activation.gate(gate, up);
      Truth truth = new Truth(rows, cols);
      for (int i = 0; i < gates.length; i++) {
        double expected = definition(activation, gates[i]) * ups[i];
        double least = tiny(activation) * Math.max(1, Math.abs(ups[i]));
        truth.set(i / cols, i % cols, expected, least + 4e-7 * Math.abs(expected));
      }
      truth.holdsFor(gate);
      assertThat(up.toArray()).isEqualTo(ups);
    }
  }
}
