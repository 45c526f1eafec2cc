package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.kernel.RotaryEmbedding.Linear;
import ai.owl.kernel.RotaryEmbedding.Llama3;
import ai.owl.kernel.RotaryEmbedding.Scaling;
import ai.owl.kernel.RotaryEmbedding.Unscaled;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import java.util.function.DoubleUnaryOperator;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

class RotaryEmbeddingTest {
  /** Llama 3.1's own numbers. */
  private static final Llama3 LLAMA3 = new Llama3(8, 1, 4, 8192);

  @Test
  void turnsPairsHalfAHeadApart() {
    check(10_000, new Unscaled(), frequency -> frequency);
  }

  @Test
  void dividesEveryFrequencyWithLinearScaling() {
    check(10_000, new Linear(2.5), frequency -> frequency / 2.5);
  }

  @Test
  void scalesLowFrequenciesOnlyAsLlama3Does() {
    check(500_000, LLAMA3, RotaryEmbeddingTest::llama3);
  }

  /** As transformers' modeling_rope_utils has it. */
  private static double llama3(double frequency) {
    double wavelength = 2 * Math.PI / frequency;
    if (wavelength < 8192 / 4.0) {
      return frequency;
    }
    if (wavelength > 8192 / 1.0) {
      return frequency / 8;
    }
    double smooth = (8192 / wavelength - 1) / (4 - 1);
    return (1 - smooth) * (frequency / 8) + smooth * frequency;
  }

  private static void check(double theta, Scaling scaling, DoubleUnaryOperator scaled) {
    int[] positions = {1, 7, 8, 31, 207, 4098};
    int[] headDims = {2, 8, 14, 128};
    for (int tokens : positions) {
      for (int headDim : headDims) {
        check(theta, scaling, scaled, tokens, tokens > 1000 ? 1 : 3, headDim);
      }
    }
  }

  private static void check(
      double theta,
      Scaling scaling,
      DoubleUnaryOperator scaled,
      int tokens,
      int heads,
      int headDim) {
    RotaryEmbedding.Table table = new RotaryEmbedding(theta, headDim, scaling).table(tokens);
    assertThat(table.positions()).isEqualTo(tokens);
    int cols = heads * headDim;
    int half = headDim / 2;
    try (Matrix x = RandomMatrix.of(3, tokens, cols)) {
      float[] before = x.toArray();
      table.rotate(x);
      Truth truth = new Truth(tokens, cols);
      for (int p = 0; p < tokens; p++) {
        for (int head = 0; head < heads; head++) {
          for (int j = 0; j < half; j++) {
            double angle = p * scaled.applyAsDouble(Math.pow(theta, -2.0 * j / headDim));
            int at = p * cols + head * headDim + j;
            double a = before[at];
            double b = before[at + half];
            // An angle in float32 is off by its own size times 2^-24, several times over.
            double tolerance = 1e-6 + 2e-7 * angle * (Math.abs(a) + Math.abs(b));
            int col = head * headDim + j;
            truth.set(p, col, a * Math.cos(angle) - b * Math.sin(angle), tolerance);
            truth.set(p, col + half, b * Math.cos(angle) + a * Math.sin(angle), tolerance);
          }
        }
      }
      truth.holdsFor(x);
    }
  }

  @Test
  void leavesTheFirstPositionAsItIs() {
    try (Matrix x = RandomMatrix.of(3, 1, 24)) {
      float[] before = x.toArray();
      new RotaryEmbedding(10_000, 8, new Unscaled()).table(1).rotate(x);
      assertThat(x.toArray()).isEqualTo(before);
    }
  }

  @Test
  void givesAPositionTheSameTurnInATableOfAnyLength() {
    RotaryEmbedding rotary = new RotaryEmbedding(10_000, 14, LLAMA3);
    try (Matrix one = RandomMatrix.of(3, 31, 28);
        Matrix other = RandomMatrix.of(3, 31, 28)) {
      rotary.table(31).rotate(one);
      rotary.table(207).rotate(other);
      assertThat(other.toArray()).isEqualTo(one.toArray());
    }
  }

  @Test
  void joinsTheThreePartsOfLlama3ScalingWithoutAStep() {
    float longest = (float) (2 * Math.PI / 8192);
    float shortest = (float) (2 * Math.PI / 2048);
    assertThat(LLAMA3.scale(longest)).isCloseTo(longest / 8, relative(longest / 8));
    assertThat(LLAMA3.scale(shortest)).isCloseTo(shortest, relative(shortest));
    for (float boundary : new float[] {longest, shortest}) {
      float below = LLAMA3.scale(Math.nextDown(boundary));
      float above = LLAMA3.scale(Math.nextUp(boundary));
      assertThat(below).isCloseTo(LLAMA3.scale(boundary), relative(4 * boundary));
      assertThat(above).isCloseTo(LLAMA3.scale(boundary), relative(4 * boundary));
    }
    assertThat(LLAMA3.scale(longest / 2)).isEqualTo(longest / 16);
    assertThat(LLAMA3.scale(shortest * 2)).isEqualTo(shortest * 2);
  }

  @Test
  void meetsTheBoundariesOfLlama3ScalingExactly() {
    // Wavelengths that a float32 frequency has exactly: the originals are made to fit.
    float frequency = 0.25f;
    double wavelength = 2 * Math.PI / frequency;
    assertThat(new Llama3(8, 1, 4, wavelength).scale(frequency)).isEqualTo(frequency / 8);
    assertThat(new Llama3(8, 1, 4, 4 * wavelength).scale(frequency)).isEqualTo(frequency);
    assertThat(new Llama3(8, 1, 4, 2.5 * wavelength).scale(frequency))
        .isCloseTo(frequency / 8 / 2 + frequency / 2, within(1e-7f));
  }

  private static Offset<Float> relative(float size) {
    return within(1e-6f * size);
  }
}
