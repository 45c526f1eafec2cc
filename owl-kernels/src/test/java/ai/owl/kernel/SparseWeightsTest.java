package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import ai.owl.tensor.VectorUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SparseWeightsTest {
  /** Whatever the processor would do: only what does not fit is dense. */
  private static final double ALL = 1;

  private final int threads = Blas.threads();

  @AfterEach
  void restore() {
    Blas.setThreads(threads);
  }

  /** A matrix of which about this share is zero. */
  private static Matrix pruned(long seed, int rows, int cols, double zeros) {
    Matrix matrix = RandomMatrix.of(seed, rows, cols);
    Random random = new Random(seed);
    float[] row = new float[cols];
    for (int r = 0; r < rows; r++) {
      matrix.row(r, row);
      for (int j = 0; j < cols; j++) {
        if (random.nextDouble() < zeros) {
          row[j] = 0f;
        }
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

  private static LinearWeights sparse(Matrix of, Integer... parts) {
    LinearWeights weights = SparseWeights.orMatrix(copy(of), List.of(parts), ALL);
    assertThat(weights).isInstanceOf(SparseWeights.class);
    return weights;
  }

  private static LinearWeights sparse(Matrix of) {
    return sparse(of, (int) of.rows());
  }

  /** What the class says: fused multiply-adds of what is not zero, in order. */
  private static float[] defined(Matrix x, Matrix w, float before) {
    float[] all = new float[(int) (x.rows() * w.rows())];
    float[] a = new float[x.cols()];
    float[] b = new float[x.cols()];
    for (int t = 0, at = 0; t < x.rows(); t++) {
      x.row(t, a);
      for (int o = 0; o < w.rows(); o++, at++) {
        w.row(o, b);
        float sum = 0;
        for (int j = 0; j < a.length; j++) {
          sum = b[j] == 0 ? sum : Math.fma(a[j], b[j], sum);
        }
        all[at] = before == 0 ? sum : before + sum;
      }
    }
    return all;
  }

  private static float[] multiplied(LinearWeights weights, Matrix x) {
    try (Matrix out = RandomMatrix.filled(Float.NaN, x.rows(), (int) weights.rows());
        Operand operand = new Operand().of(x)) {
      weights.multiply(operand, false, out);
      return out.toArray();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "1, 300, 700",
    "2, 128, 256",
    "3, 129, 257",
    "63, 7, 300",
    "64, 300, 5",
    "65, 127, 255",
    "130, 1000, 40",
    "200, 256, 513",
    "300, 64, 64"
  })
  void multipliesWhatIsNotZero(int tokens, int in, int out) {
    try (Matrix x = RandomMatrix.of(1, tokens, in);
        Matrix w = pruned(2, out, in, 0.7);
        Matrix by = RandomMatrix.filled(2, tokens, out);
        Operand operand = new Operand().of(x);
        LinearWeights weights = sparse(w)) {
      assertThat(weights.rows()).isEqualTo(out);
      assertThat(weights.cols()).isEqualTo(in);
      Truth truth = new Truth(tokens, out);
      float[] a = new float[in];
      float[] b = new float[in];
      for (int t = 0; t < tokens; t++) {
        x.row(t, a);
        for (int o = 0; o < out; o++) {
          w.row(o, b);
          double sum = 0;
          double magnitude = 0;
          for (int j = 0; j < in; j++) {
            sum += (double) a[j] * b[j];
            magnitude += Math.abs((double) a[j] * b[j]);
          }
          truth.set(t, o, sum, 1e-6 * magnitude);
        }
      }
      truth.holdsFor(multiplied(weights, x));
      assertThat(multiplied(weights, x)).isEqualTo(defined(x, w, 0));
      weights.multiply(operand, true, by);
      assertThat(by.toArray()).isEqualTo(defined(x, w, 2));
    }
  }

  @Test
  void multipliesTheSmallest() {
    try (Matrix x = RandomMatrix.of(1, 5, 1);
        Matrix w = Matrix.of(new float[][] {{0}})) {
      for (int tokens : new int[] {1, 5}) {
        try (LinearWeights weights = sparse(w)) {
          for (float sum : multiplied(weights, x.firstRows(tokens))) {
            assertThat(Float.floatToRawIntBits(sum)).isZero();
          }
        }
      }
      // An index of one weight takes more than the weight.
      w.setRow(0, new float[] {3});
      try (LinearWeights weights = SparseWeights.orMatrix(copy(w), List.of(1), ALL)) {
        assertThat(weights).isInstanceOf(MatrixWeights.class);
        assertThat(multiplied(weights, x)).isEqualTo(defined(x, w, 0));
      }
    }
  }

  @Test
  void rowsWithoutWeightsGiveZero() {
    try (Matrix x = RandomMatrix.filled(-1, 70, 300);
        Matrix w = pruned(2, 300, 300, 0.6)) {
      for (int r : new int[] {0, 17, 255, 256, 299}) {
        w.setRow(r, new float[300]);
      }
      for (int tokens : new int[] {1, 70}) {
        try (LinearWeights weights = sparse(w)) {
          float[] out = multiplied(weights, x.firstRows(tokens));
          assertThat(Float.floatToRawIntBits(out[17])).isZero();
          assertThat(Float.floatToRawIntBits(out[300 * (tokens - 1) + 299])).isZero();
          assertThat(out).isEqualTo(defined(x.firstRows(tokens), w, 0));
        }
      }
    }
  }

  @Test
  void allMayBeZero() {
    try (Matrix x = RandomMatrix.of(1, 3, 200);
        Matrix w = RandomMatrix.filled(0, 270, 200);
        LinearWeights weights = sparse(w);
        Matrix back = weights.matrix()) {
      assertThat(multiplied(weights, x)).containsOnly(0f);
      assertThat(back.toArray()).isEqualTo(w.toArray());
    }
  }

  @Test
  void bitsDoNotDependOnThreadsOrOnTheTokensBeside() {
    try (Matrix x = RandomMatrix.of(1, 700, 260);
        Matrix w = pruned(2, 600, 260, 0.5);
        LinearWeights weights = sparse(w)) {
      Blas.setThreads(1);
      float[] all = multiplied(weights, x);
      for (int more : new int[] {2, 5}) {
        Blas.setThreads(more);
        assertThat(multiplied(weights, x)).isEqualTo(all);
      }
      for (int together : new int[] {1, 2, 63, 64, 65, 128, 257, 300}) {
        int at = 100;
        assertThat(multiplied(weights, x.rows(at, together)))
            .as("%d tokens", together)
            .isEqualTo(Arrays.copyOfRange(all, at * 600, (at + together) * 600));
      }
    }
  }

  @Test
  void severalThreadsMayMultiplyAtOnce() {
    try (Matrix w = pruned(2, 300, 500, 0.6);
        LinearWeights weights = sparse(w)) {
      List<Matrix> inputs = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        inputs.add(RandomMatrix.of(i, 1 + 40 * i, 500));
      }
      List<float[]> alone = inputs.stream().map(x -> multiplied(weights, x)).toList();
      List<float[]> atOnce = inputs.parallelStream().map(x -> multiplied(weights, x)).toList();
      for (int i = 0; i < 8; i++) {
        assertThat(atOnce.get(i)).isEqualTo(alone.get(i));
      }
      inputs.forEach(Matrix::close);
    }
  }

  @Test
  void partsMultiplyTheirOwnRows() {
    List<Integer> parts = List.of(300, 16, 520);
    try (Matrix x = RandomMatrix.of(1, 70, 130);
        Matrix w = pruned(2, 836, 130, 0.6);
        LinearWeights weights = sparse(w, parts.toArray(Integer[]::new))) {
      assertThat(multiplied(weights, x)).isEqualTo(defined(x, w, 0));
      long row = 0;
      for (int part : parts) {
        Matrix rows = w.rows(row, part);
        LinearWeights own = weights.part(row, part);
        for (int tokens : new int[] {1, 70}) {
          assertThat(multiplied(own, x.firstRows(tokens)))
              .isEqualTo(defined(x.firstRows(tokens), rows, 0));
        }
        try (Matrix back = own.matrix()) {
          assertThat(back.toArray()).isEqualTo(rows.toArray());
        }
        own.close();
        row += part;
      }
      assertThatThrownBy(() -> weights.part(0, 200)).hasMessageContaining("they are cut otherwise");
    }
  }

  @Test
  void whatIsWrittenIsWhatWasRead() {
    try (Matrix w = pruned(3, 400, 333, 0.7)) {
      float[] odd = {-0f, Float.MIN_VALUE, -Float.MIN_VALUE, Float.MAX_VALUE, -1, 0, -0f};
      w.copyFrom(399, 326, odd, 0, odd.length);
      w.copyFrom(0, 0, odd, 0, odd.length);
      try (LinearWeights weights = sparse(w);
          Matrix back = weights.matrix()) {
        float[] was = w.toArray();
        float[] is = back.toArray();
        for (int i = 0; i < was.length; i++) {
          assertThat(Float.floatToRawIntBits(is[i])).isEqualTo(Float.floatToRawIntBits(was[i]));
        }
      }
    }
  }

  /** Pruned to it, or read so: the same is held. */
  @Test
  void changedWeightsAreHeldByWhatTheyAre() {
    assumeThat(SparseLimit.share()).isPositive();
    List<Integer> parts = List.of(300);
    try (Matrix x = RandomMatrix.of(1, 66, 200);
        Matrix dense = RandomMatrix.of(2, 300, 200);
        Matrix sparse = pruned(2, 300, 200, 0.8);
        Matrix sparser = pruned(2, 300, 200, 0.9)) {
      LinearWeights weights = SparseWeights.orMatrix(copy(dense), parts);
      assertThat(weights).isInstanceOf(MatrixWeights.class);
      float[] multiplied = multiplied(weights, x);
      for (Matrix next : List.of(sparse, sparser, dense, sparser, sparse, dense)) {
        try (Matrix changed = weights.matrix()) {
          changed.set(next);
          weights = weights.replace(changed);
        }
        assertThat(weights).isInstanceOf(next == dense ? MatrixWeights.class : SparseWeights.class);
        assertThat(multiplied(weights, x))
            .isEqualTo(next == dense ? multiplied : defined(x, next, 0));
      }
      weights.close();
    }
  }

  @Test
  void weightsToLookAtStayAsTheyAre() {
    try (Matrix w = pruned(2, 300, 200, 0.9);
        LinearWeights weights = LinearWeights.of(copy(w));
        Matrix view = weights.matrix()) {
      assertThat(weights.replace(view)).isSameAs(weights);
      assertThat(view.toArray()).isEqualTo(w.toArray());
    }
  }

  @Test
  void needsNoMoreMemoryThanAllWeights() {
    Blas.setThreads(1);
    try (Matrix w = pruned(2, 2048, 1024, 0.5)) {
      long before = Pointer.totalBytes();
      LinearWeights weights = sparse(w);
      assertThat(Pointer.totalBytes() - before).isLessThanOrEqualTo(4L * 2048 * 1024 + 64);
      try (Matrix x = RandomMatrix.of(1, 70, 1024)) {
        multiplied(weights, x);
      }
      weights.close();
      assertThat(Pointer.totalBytes()).isLessThanOrEqualTo(before);
    }
  }

  @Test
  void inputsTakeNoMoreThanIsPlanned() {
    try (Matrix w = pruned(2, 64, 300, 0.5);
        LinearWeights weights = sparse(w)) {
      for (int tokens : new int[] {2, 64, 65, 500}) {
        try (Matrix x = RandomMatrix.of(1, tokens, 300);
            Matrix out = new Matrix(tokens, 64);
            Operand operand = new Operand().of(x)) {
          long before = Pointer.totalBytes();
          weights.multiply(operand, false, out);
          for (Compute compute : Compute.values()) {
            // but for the beginning of a cache line
            assertThat(Pointer.totalBytes() - before)
                .isLessThanOrEqualTo(Operand.bytes(300, tokens, compute) + 64);
          }
        }
      }
    }
  }

  @Test
  void zerosHideWhatIsNotFinite() {
    try (Matrix x = RandomMatrix.of(1, 4, 3);
        Matrix w = Matrix.of(new float[][] {{0, 0, 0}, {0, 0, 2}, {0, 0, 0}, {0, 0, 0}});
        LinearWeights weights = sparse(w)) {
      x.setRow(1, new float[] {Float.NaN, Float.POSITIVE_INFINITY, 3});
      x.setRow(2, new float[] {1, 1, Float.NaN});
      float[] out = multiplied(weights, x);
      assertThat(Arrays.copyOfRange(out, 4, 8)).containsExactly(0, 6, 0, 0);
      assertThat(out[2 * 4 + 1]).isNaN();
    }
  }

  @Test
  void onlyFewWeightsAreWorthIt() {
    try (Matrix w = pruned(2, 512, 512, 0.7)) {
      double left = 1 - (double) ZeroCount.of(w) / w.size();
      try (LinearWeights at = SparseWeights.orMatrix(copy(w), List.of(512), left);
          LinearWeights below = SparseWeights.orMatrix(copy(w), List.of(512), left - 1e-6);
          LinearWeights never = SparseWeights.orMatrix(copy(w), List.of(512), SparseLimit.NEVER);
          LinearWeights tokens = LinearWeights.ofTokens(copy(w), List.of(512), Compute.FLOAT32)) {
        assertThat(at).isInstanceOf(SparseWeights.class);
        assertThat(below).isInstanceOf(MatrixWeights.class);
        assertThat(never).isInstanceOf(MatrixWeights.class);
        assertThat(tokens).isNotInstanceOf(SparseWeights.class);
      }
      // Negative zeros are held, and are too many here.
      float[] row = new float[512];
      for (int r = 0; r < 512; r++) {
        w.row(r, row);
        for (int j = 0; j < 512; j++) {
          row[j] = row[j] == 0 ? -0f : row[j];
        }
        w.setRow(r, row);
      }
      try (LinearWeights weights = SparseWeights.orMatrix(copy(w), List.of(512), 0.5)) {
        assertThat(weights).isInstanceOf(MatrixWeights.class);
      }
      // Few in all, but a panel does not fit into its place.
      w.rows(0, 512).set(RandomMatrix.filled(0, 512, 512));
      w.rows(256, 256).set(RandomMatrix.filled(1, 256, 512));
      try (LinearWeights weights = SparseWeights.orMatrix(copy(w), List.of(512), 0.5)) {
        assertThat(weights).isInstanceOf(MatrixWeights.class);
      }
    }
  }

  @Test
  void theLimitIsTheProcessors() {
    List<String> zen4 = List.of("processor\t: 0", "vendor_id\t: AuthenticAMD", "cpu family\t: 25");
    List<String> zen5 = List.of("vendor_id\t: AuthenticAMD", "cpu family\t: 26", "model\t\t: 25");
    List<String> intel = List.of("vendor_id\t: GenuineIntel", "cpu family\t: 6");
    assertThat(SparseLimit.of(512, zen4)).isEqualTo(0.6);
    assertThat(SparseLimit.of(256, zen4)).isEqualTo(0.25); // Zen 3
    assertThat(SparseLimit.of(512, zen5)).isEqualTo(0.25);
    assertThat(SparseLimit.of(512, intel)).isEqualTo(0.25);
    assertThat(SparseLimit.of(512, List.of())).isEqualTo(0.25);
  }

  @Test
  void theLimitCanBeGiven() {
    assumeThat(VectorUnit.isPresent()).isTrue();
    try {
      System.setProperty(SparseLimit.PROPERTY, "0.4");
      assertThat(SparseLimit.share()).isEqualTo(0.4);
      System.setProperty(SparseLimit.PROPERTY, "0");
      assertThat(SparseLimit.share()).isEqualTo(SparseLimit.NEVER);
      for (String wrong : List.of("1.5", "-1", "NaN", "all")) {
        System.setProperty(SparseLimit.PROPERTY, wrong);
        assertThatThrownBy(SparseLimit::share)
            .hasMessage("Cannot use -Dowl.sparse.limit=" + wrong + ": it is no share from 0 to 1");
      }
    } finally {
      System.clearProperty(SparseLimit.PROPERTY);
    }
  }
}
