package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LinearWeightsTest {
  private final int threads = Blas.threads();

  @AfterEach
  void restore() {
    Blas.setThreads(threads);
  }

  private static Matrix random(int rows, int cols, boolean bfloat16, long seed) {
    Random random = new Random(seed);
    Matrix matrix = new Matrix(rows, cols);
    float[] row = new float[cols];
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < cols; j++) {
        float value = (float) random.nextGaussian();
        row[j] =
            bfloat16 ? Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xffff0000) : value;
      }
      matrix.setRow(r, row);
    }
    return matrix;
  }

  private static Matrix copy(Matrix of) {
    Matrix copy = new Matrix(of.rows(), of.cols());
    copy.set(of);
    return copy;
  }

  /** The root mean square of the errors, as a share of that of the products. */
  private static double error(Matrix x, Matrix w, Matrix out, float before) {
    double errors = 0;
    double squares = 0;
    float[] a = new float[x.cols()];
    float[] b = new float[x.cols()];
    float[] c = new float[out.cols()];
    for (long r = 0; r < x.rows(); r++) {
      x.row(r, a);
      out.row(r, c);
      for (int o = 0; o < w.rows(); o++) {
        w.row(o, b);
        double sum = before;
        for (int j = 0; j < a.length; j++) {
          sum += (double) a[j] * b[j];
        }
        errors += (c[o] - sum) * (c[o] - sum);
        squares += sum * sum;
      }
    }
    return Math.sqrt(errors / squares);
  }

  private static void fill(Matrix matrix, float value) {
    float[] row = new float[matrix.cols()];
    java.util.Arrays.fill(row, value);
    for (long r = 0; r < matrix.rows(); r++) {
      matrix.setRow(r, row);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "1, 64, 48",
    "3, 7, 5",
    "257, 96, 1030",
    "300, 2048, 130",
    "40, 33, 2049",
    "16, 4096, 16"
  })
  void productsOfFloat32AreAsAccurateAsOpenBlas(int tokens, int in, int out) {
    try (Matrix x = random(tokens, in, false, 1);
        Matrix w = random(out, in, true, 2);
        Matrix by = new Matrix(tokens, out);
        Operand operand = new Operand().of(x);
        LinearWeights weights = LinearWeights.of(copy(w), List.of(out), Compute.FLOAT32)) {
      weights.multiply(operand, false, by);
      assertThat(error(x, w, by, 0)).isLessThan(1e-6);
      fill(by, 2);
      weights.multiply(operand, true, by);
      assertThat(error(x, w, by, 2)).isLessThan(1e-6);
      assertThat(weights.rows()).isEqualTo(out);
      assertThat(weights.cols()).isEqualTo(in);
    }
  }

  @ParameterizedTest
  @CsvSource({"true", "false"})
  void productsOfBfloat16RoundWhatTheyMultiply(boolean exactWeights) {
    try (Matrix x = random(70, 512, false, 1);
        Matrix w = random(90, 512, exactWeights, 2);
        Matrix by = new Matrix(70, 90);
        Operand operand = new Operand().of(x);
        LinearWeights weights = LinearWeights.of(copy(w), List.of(90), Compute.BFLOAT16)) {
      weights.multiply(operand, false, by);
      boolean rounds = OneDnn.hasBfloat16();
      assertThat(error(x, w, by, 0)).isBetween(rounds ? 1e-4 : 0, rounds ? 5e-3 : 1e-6);
      assertThat(weights)
          .isInstanceOf(
              !rounds
                  ? MatrixWeights.class
                  : exactWeights ? PackedWeights.class : SplitWeights.class);
      // What is written of a layer is what was read, whatever its products are made of.
      try (Matrix kept = weights.matrix()) {
        assertThat(kept.toArray()).isEqualTo(w.toArray());
      }
    }
  }

  @Test
  void packedWeightsKeepEveryValueOfBfloat16() {
    assumeThat(OneDnn.hasBfloat16()).isTrue();
    // Zeros of both signs, the largest, the smallest normal ones; odd sizes.
    float[] values = {0f, -0f, 3.3895314e38f, -3.3895314e38f, 0x1p-126f, -0x1p-126f, 1f};
    try (Matrix w = new Matrix(5, 7)) {
      for (int r = 0; r < 5; r++) {
        w.setRow(r, values);
      }
      assertThat(PackedWeights.holds(w)).isTrue();
      try (PackedWeights packed = new PackedWeights(w, List.of(5), 1);
          Matrix back = packed.matrix()) {
        for (int i = 0; i < 35; i++) {
          assertThat(Float.floatToRawIntBits(back.toArray()[i]))
              .isEqualTo(Float.floatToRawIntBits(w.toArray()[i]));
        }
      }
    }
  }

  @Test
  void weightsThatPackingWouldChangeAreNotPacked() {
    for (float strange : new float[] {1.00390625f / 3, 0x1p-127f, -0x1p-133f, Float.MIN_VALUE}) {
      try (Matrix w = random(3, 8, true, 5)) {
        assertThat(PackedWeights.holds(w)).isTrue();
        w.copyFrom(2, 7, new float[] {strange}, 0, 1);
        assertThat(PackedWeights.holds(w)).as("%s", strange).isFalse();
      }
    }
  }

  @Test
  void changedWeightsAreMultipliedFromThenOn() {
    try (Matrix x = random(20, 64, false, 1);
        Matrix w = random(1500, 64, true, 2);
        Matrix out = new Matrix(20, 1500);
        Operand operand = new Operand().of(x);
        LinearWeights weights = LinearWeights.of(copy(w), List.of(1500), Compute.FLOAT32)) {
      weights.multiply(operand, false, out);
      for (int r = 0; r < 1500; r += 3) {
        w.setRow(r, new float[64]);
      }
      try (Matrix changed = weights.matrix()) {
        changed.set(w);
        weights.replace(changed);
      }
      weights.multiply(operand, false, out);
      assertThat(error(x, w, out, 0)).isLessThan(1e-6);
      float[] row = new float[1500];
      out.row(7, row);
      assertThat(row[3]).isEqualTo(0f);
    }
  }

  @Test
  void partsMultiplyTheirOwnRows() {
    List<Integer> parts = List.of(1040, 16, 8);
    for (Compute compute : Compute.values()) {
      try (Matrix x = random(9, 128, true, 1);
          Matrix w = random(1064, 128, true, 2);
          Operand operand = new Operand().of(x);
          LinearWeights weights = LinearWeights.of(copy(w), parts, compute)) {
        long row = 0;
        for (int part : parts) {
          try (Matrix out = new Matrix(9, part)) {
            weights.part(row, part).multiply(operand, false, out);
            assertThat(error(x, w.rows(row, part), out, 0)).isLessThan(1e-6);
          }
          row += part;
        }
      }
    }
  }

  @Test
  void packedWeightsHaveNoOtherParts() {
    assumeThat(OneDnn.hasBfloat16()).isTrue();
    try (Matrix w = random(64, 32, true, 2);
        PackedWeights packed = new PackedWeights(w, List.of(48, 16), 1)) {
      assertThatThrownBy(() -> packed.part(0, 32)).hasMessageContaining("packed otherwise");
    }
  }

  @Test
  void productsDoNotDependOnThreads() {
    for (Compute compute : Compute.values()) {
      try (Matrix x = random(600, 256, false, 1);
          Matrix one = new Matrix(600, 2100);
          Matrix more = new Matrix(600, 2100);
          Operand operand = new Operand();
          LinearWeights weights =
              LinearWeights.of(random(2100, 256, true, 2), List.of(2100), compute)) {
        Blas.setThreads(1);
        weights.multiply(operand.of(x), false, one);
        Blas.setThreads(4);
        weights.multiply(operand.of(x), false, more);
        assertThat(more.toArray()).isEqualTo(one.toArray());
      }
    }
  }

  @Test
  void aPieceOfThreeIsWhatTheOthersLeave() {
    assumeThat(OneDnn.hasBfloat16()).isTrue();
    try (Matrix x = random(3, 50, false, 9);
        Matrix identity = new Matrix(50, 50);
        Matrix out = new Matrix(3, 50);
        Operand operand = new Operand().of(x)) {
      for (int r = 0; r < 50; r++) {
        float[] row = new float[50];
        row[r] = 1;
        identity.setRow(r, row);
      }
      try (PackedWeights packed = new PackedWeights(identity, List.of(50), 3)) {
        packed.multiply(operand, false, out);
      }
      // Exactly: the sum of the pieces is x, and a float32 holds each partial sum.
      assertThat(out.toArray()).isEqualTo(x.toArray());
    }
  }

  @Test
  void sayWhatTheyAreMadeBy() {
    assertThat(Compute.parse("bfloat16")).contains(Compute.BFLOAT16);
    assertThat(Compute.parse("float16")).isEmpty();
    for (Compute compute : Compute.values()) {
      assertThat(compute.implementation()).containsPattern("OpenBLAS|oneDNN 3");
    }
    assertThat(Compute.FLOAT32.shortfall()).isEmpty();
    assertThat(Compute.BFLOAT16.shortfall().isPresent()).isNotEqualTo(OneDnn.hasBfloat16());
  }

  @Test
  void float16WeightsAreSumsOfTwo() {
    assumeThat(OneDnn.hasBfloat16()).isTrue();
    try (Matrix w = random(40, 96, false, 3);
        Matrix x = random(17, 96, true, 4);
        Matrix out = new Matrix(17, 40);
        Operand operand = new Operand().of(x)) {
      float[] row = new float[96];
      byte[] half = new byte[2 * 96];
      for (int r = 0; r < 40; r++) {
        w.row(r, row);
        row[5] = r % 2 == 0 ? -0f : 0x1p-24f; // the smallest there is
        DType.F16.narrow(row, 96, half, 0);
        DType.F16.widen(half, 0, row, 96);
        w.setRow(r, row);
      }
      try (SplitWeights split = SplitWeights.of(copy(w), List.of(16, 24))) {
        assertThat(split.kept()).isEmpty();
        split.multiply(operand, false, out);
        // Nothing is rounded: x is bfloat16, and the two sum up to w.
        assertThat(error(x, w, out, 0)).isLessThan(1e-6);
        try (Matrix part = new Matrix(17, 24);
            Matrix back = split.matrix()) {
          split.part(16, 24).multiply(operand, false, part);
          assertThat(error(x, w.rows(16, 24), part, 0)).isLessThan(1e-6);
          for (int i = 0; i < back.toArray().length; i++) {
            assertThat(Float.floatToRawIntBits(back.toArray()[i]))
                .isEqualTo(Float.floatToRawIntBits(w.toArray()[i]));
          }
          w.setRow(7, new float[96]);
          back.set(w);
          split.replace(back);
        }
        split.multiply(operand, false, out);
        assertThat(error(x, w, out, 0)).isLessThan(1e-6);
      }
    }
  }
}
