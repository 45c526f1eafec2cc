package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The kernel works on blocks of 128 query rows. */
class AttentionTest {
  private final int threads = Blas.threads();

  @AfterEach
  void giveThreadsBack() {
    Blas.setThreads(threads);
  }

  @Test
  void attendsToEverythingBefore() {
    for (int tokens : new int[] {1, 7, 8, 31, 127, 128, 129, 207, 256, 257}) {
      check(attention(2, 2, 14, true, 0), tokens, 1);
    }
    check(attention(1, 1, 64, true, 0), 700, 1);
  }

  @Test
  void sharesKeysAndValuesAmongGroupsOfHeads() {
    for (int keyValueHeads : new int[] {1, 2, 4, 8}) {
      check(attention(8, keyValueHeads, 6, true, 0), 31, 1);
      check(attention(8, keyValueHeads, 6, true, 5), 131, 1);
    }
  }

  @Test
  void seesAWindowOnly() {
    for (int tokens : new int[] {1, 8, 128, 129, 300}) {
      for (int window : new int[] {1, 2, 7, 127, 128, 129, 200, 299, 300, 1000}) {
        check(attention(2, 1, 8, true, window), tokens, 1);
      }
    }
  }

  @Test
  void attendsToEverythingWhereItIsNotCausal() {
    for (int tokens : new int[] {1, 7, 127, 128, 129, 257}) {
      check(attention(2, 2, 14, false, 0), tokens, 1);
    }
    check(attention(8, 2, 6, false, 0), 131, 1);
  }

  @Test
  void standsExtremeScores() {
    for (float scale : new float[] {1e-20f, 100f, 1e6f, 1e15f}) {
      check(attention(2, 2, 8, true, 0), 31, scale);
      check(attention(2, 2, 8, true, 3), 131, scale);
    }
  }

  @Test
  void scalesAndBoundsScoresAsItIsTold() {
    check(new Attention(2, 1, 8, true, 0, 0.11f, 0f), 31, 1);
    check(new Attention(2, 1, 8, true, 5, 0.11f, 3f), 131, 1);
    check(new Attention(2, 2, 8, true, 0, 0.35f, 50f), 31, 100);
    check(new Attention(2, 2, 8, false, 0, 0.35f, 2f), 31, 1e-20f);
  }

  /** Queries behind a prefix that lies elsewhere see what they would see if all lay together. */
  @Test
  void continuesAPrefix() {
    for (int window : new int[] {0, 1, 3, 40, 127, 129, 1000}) {
      for (int[] lengths : new int[][] {{1, 1}, {5, 3}, {127, 2}, {3, 257}, {200, 131}}) {
        checkBehind(attention(4, 2, 6, true, window), lengths[0], lengths[1]);
      }
    }
    checkBehind(new Attention(2, 1, 8, true, 5, 0.11f, 3f), 31, 140);
    checkBehind(attention(2, 2, 14, false, 0), 31, 7);
  }

  private static void checkBehind(Attention attention, int past, int tokens) {
    int width = attention.heads() * attention.headDim();
    int narrow = attention.keyValueHeads() * attention.headDim();
    try (Matrix q = RandomMatrix.of(1, tokens, width);
        Matrix k = RandomMatrix.of(2, past + tokens, narrow);
        Matrix v = RandomMatrix.of(3, past + tokens, narrow);
        Attention.Scores scores = Attention.scores(past + tokens);
        Matrix together = new Matrix(tokens, width);
        Matrix behind = RandomMatrix.filled(Float.NaN, tokens, width)) {
      attention.apply(q, k, v, past, scores, together);
      attention.applyBehind(
          k.firstRows(past),
          v.firstRows(past),
          q,
          k.rows(past, tokens),
          v.rows(past, tokens),
          scores,
          behind);
      Truth expected = new Truth(tokens, width);
      for (int t = 0; t < tokens; t++) {
        float[] row = new float[width];
        together.row(t, row);
        for (int j = 0; j < width; j++) {
          expected.set(t, j, row[j], 1e-5);
        }
      }
      expected.holdsFor(behind);
    }
  }

  private static Attention attention(
      int heads, int keyValueHeads, int headDim, boolean isCausal, int window) {
    float scale = (float) (1 / Math.sqrt(headDim));
    return new Attention(heads, keyValueHeads, headDim, isCausal, window, scale, 0f);
  }

  private static void check(Attention attention, int tokens, float scale) {
    check(attention, tokens, scale, Compute.FLOAT32);
  }

  /**
   * Against a softmax in double precision over the scores in float32. Queries and keys are such as
   * bfloat16 holds.
   */
  private static void check(Attention attention, int tokens, float scale, Compute compute) {
    int heads = attention.heads();
    int keyValueHeads = attention.keyValueHeads();
    int d = attention.headDim();
    float[] queries = RandomMatrix.vector(1, tokens * heads * d);
    for (int i = 0; i < queries.length; i++) {
      // Whole numbers times a power of two have the same products in float32 as in float64.
      queries[i] = (int) (queries[i] * 8) * Float.intBitsToFloat(0x7f800000 & bits(scale));
    }
    float[] keys = RandomMatrix.vector(2, tokens * keyValueHeads * d);
    for (int i = 0; i < keys.length; i++) {
      keys[i] = (int) (keys[i] * 8) / 8f;
    }
    float[] values = RandomMatrix.vector(3, tokens * keyValueHeads * d);
    try (Matrix q = RandomMatrix.of(queries, tokens, heads * d);
        Matrix k = RandomMatrix.of(keys, tokens, keyValueHeads * d);
        Matrix v = RandomMatrix.of(values, tokens, keyValueHeads * d);
        Attention.Scores scores = Attention.scores(tokens, compute);
        Matrix out = RandomMatrix.filled(Float.NaN, tokens, heads * d)) {
      spoil(scores);
      attention.apply(q, k, v, scores, out);
      Truth truth = new Truth(tokens, heads * d);
      double rounding =
          compute == Compute.BFLOAT16 ? 0x1p-7 : 0; // half of it the values', half the weights'
      double[] weights = new double[tokens];
      for (int head = 0; head < heads; head++) {
        int group = head / (heads / keyValueHeads);
        for (int t = 0; t < tokens; t++) {
          int from = attention.window() == 0 ? 0 : Math.max(0, t - attention.window() + 1);
          int end = attention.isCausal() ? t + 1 : tokens;
          double max = Double.NEGATIVE_INFINITY;
          for (int s = from; s < end; s++) {
            double dot = 0;
            for (int j = 0; j < d; j++) {
              dot +=
                  (double) queries[(t * heads + head) * d + j]
                      * keys[(s * keyValueHeads + group) * d + j];
            }
            weights[s] = (float) (dot * attention.scale());
            if (attention.cap() > 0) {
              weights[s] = attention.cap() * Math.tanh(weights[s] / attention.cap());
            }
            max = Math.max(max, weights[s]);
          }
          double sum = 0;
          for (int s = from; s < end; s++) {
            weights[s] = Math.exp(weights[s] - max);
            sum += weights[s];
          }
          for (int j = 0; j < d; j++) {
            double expected = 0;
            double size = 0;
            for (int s = from; s < end; s++) {
              double part = weights[s] / sum * values[(s * keyValueHeads + group) * d + j];
              expected += part;
              size += Math.abs(part);
            }
            truth.set(t, head * d + j, expected, (tolerance(max) + rounding) * size);
          }
        }
      }
      truth.holdsFor(out);
    }
  }

  /** Rounding a score moves its weight by as much as the score is big, until it is all or none. */
  private static double tolerance(double max) {
    return 1e-5 + (Math.abs(max) < 1e4 ? 3e-7 * Math.abs(max) : 0);
  }

  private static int bits(float value) {
    return Float.floatToRawIntBits(value);
  }

  private static void fill(Matrix matrix, float value) {
    float[] row = new float[matrix.cols()];
    Arrays.fill(row, value);
    for (long r = 0; r < matrix.rows(); r++) {
      matrix.setRow(r, row);
    }
  }

  @Test
  void takesNoNoticeOfLaterTokens() {
    int tokens = 140;
    for (int window : new int[] {0, 9}) {
      Attention attention = attention(2, 1, 8, true, window);
      try (Matrix q = RandomMatrix.of(1, tokens, 16);
          Matrix k = RandomMatrix.of(2, tokens, 8);
          Matrix v = RandomMatrix.of(3, tokens, 8);
          Attention.Scores scores = Attention.scores(tokens);
          Matrix one = new Matrix(tokens, 16);
          Matrix other = new Matrix(tokens, 16)) {
        attention.apply(q, k, v, scores, one);
        for (int t = 100; t < tokens; t++) {
          k.setRow(t, RandomMatrix.vector(7 + t, 8));
          v.setRow(t, RandomMatrix.vector(9 + t, 8));
        }
        attention.apply(q, k, v, scores, other);
        assertThat(other.firstRows(100).toArray()).isEqualTo(one.firstRows(100).toArray());
        assertThat(other.toArray()).isNotEqualTo(one.toArray());
      }
    }
  }

  @Test
  void worksWithScratchOfALongerSequence() {
    Attention attention = attention(4, 2, 8, true, 0);
    try (Matrix q = RandomMatrix.of(1, 31, 32);
        Matrix k = RandomMatrix.of(2, 31, 16);
        Matrix v = RandomMatrix.of(3, 31, 16);
        Attention.Scores fitting = Attention.scores(31);
        Attention.Scores longer = Attention.scores(500);
        Matrix one = new Matrix(31, 32);
        Matrix other = new Matrix(31, 32)) {
      attention.apply(q, k, v, fitting, one);
      spoil(longer);
      attention.apply(q, k, v, longer, other);
      assertThat(other.toArray()).isEqualTo(one.toArray());
    }
  }

  @Test
  void givesTheSameBitsWithOneThreadAndWithTwo() {
    Attention attention = attention(4, 2, 64, true, 0);
    try (Matrix q = RandomMatrix.of(1, 600, 256);
        Matrix k = RandomMatrix.of(2, 600, 128);
        Matrix v = RandomMatrix.of(3, 600, 128);
        Attention.Scores scores = Attention.scores(600);
        Matrix one = new Matrix(600, 256);
        Matrix two = new Matrix(600, 256)) {
      Blas.setThreads(1);
      attention.apply(q, k, v, scores, one);
      Blas.setThreads(2);
      attention.apply(q, k, v, scores, two);
      assertThat(Arrays.equals(two.toArray(), one.toArray())).isTrue();
    }
  }

  @Test
  void roundsFactorsToBfloat16() {
    for (int tokens : new int[] {1, 127, 128, 129, 255, 256, 257}) {
      check(attention(2, 2, 34, true, 0), tokens, 1, Compute.BFLOAT16);
      check(attention(4, 2, 32, true, 100), tokens, 1, Compute.BFLOAT16);
      check(attention(2, 1, 32, true, 7), tokens, 1, Compute.BFLOAT16);
      check(attention(4, 1, 33, false, 0), tokens, 1, Compute.BFLOAT16);
    }
    check(attention(1, 1, 64, true, 0), 700, 1, Compute.BFLOAT16);
    check(new Attention(2, 2, 32, true, 0, 0.35f, 50f), 131, 100, Compute.BFLOAT16);
    check(attention(2, 2, 32, true, 0), 131, 1e-20f, Compute.BFLOAT16);
  }

  /** In whole sequences every 128 queries, with heads of 32 and wider. */
  @Test
  void roundsWhatIsWorthIt() {
    assumeThat(OneDnn.hasBfloat16()).isTrue();
    for (int[] shape : new int[][] {{127, 32, 0}, {128, 32, 128}, {300, 32, 256}, {128, 31, 0}}) {
      int tokens = shape[0];
      int rounded = shape[2];
      Attention attention = attention(2, 1, shape[1], true, 0);
      // Rows of larger matrices, as of sequences that are packed together.
      try (Matrix q = RandomMatrix.of(1, tokens + 9, 2 * shape[1]);
          Matrix k = RandomMatrix.of(2, tokens + 9, shape[1]);
          Matrix v = RandomMatrix.of(3, tokens + 9, shape[1]);
          Attention.Scores float32 = Attention.scores(tokens);
          Attention.Scores bfloat16 = Attention.scores(tokens, Compute.BFLOAT16);
          Matrix one = new Matrix(tokens, 2 * shape[1]);
          Matrix other = new Matrix(tokens, 2 * shape[1])) {
        Matrix queries = q.rows(4, tokens);
        Matrix keys = k.rows(4, tokens);
        Matrix values = v.rows(4, tokens);
        attention.apply(queries, keys, values, float32, one);
        attention.apply(queries, keys, values, bfloat16, other);
        float[] a = new float[one.cols()];
        float[] b = new float[one.cols()];
        for (int t = 1; t < tokens; t++) { // the first attends to itself alone
          one.row(t, a);
          other.row(t, b);
          assertThat(Arrays.equals(a, b)).as("row %d of %d", t, tokens).isEqualTo(t >= rounded);
        }
        attention.apply(queries, keys, values, 0, bfloat16, other); // as behind a cache
        assertThat(other.toArray()).isEqualTo(one.toArray());
      }
    }
  }

  /** Sequences of ever new lengths do not fill the memory with plans. */
  @Test
  void sequencesOfAllLengthsSharePlans() {
    assumeThat(OneDnn.hasBfloat16()).isTrue();
    Attention attention = attention(1, 1, 40, true, 0);
    try (Matrix q = RandomMatrix.of(1, 400, 40);
        Attention.Scores scores = Attention.scores(400, Compute.BFLOAT16);
        Matrix out = new Matrix(400, 40)) {
      for (int tokens = 100; tokens < 400; tokens++) {
        Matrix x = q.firstRows(tokens);
        attention.apply(x, x, x, scores, out.firstRows(tokens));
      }
      assertThat(OneDnn.Shape.PLANS.keySet())
          .filteredOn(shape -> shape instanceof OneDnn.Part part && part.strideW() == 40)
          .hasSize(2 * 3);
    }
  }

  @Test
  void givesTheSameBitsInAnyRoomOnAnyNumberOfThreads() {
    int tokens = 297;
    Attention attention = attention(4, 2, 32, true, 0);
    try (Matrix q = RandomMatrix.of(1, tokens, 128);
        Matrix k = RandomMatrix.of(2, tokens, 64);
        Matrix v = RandomMatrix.of(3, tokens, 64);
        Attention.Scores fitting = Attention.scores(tokens, Compute.BFLOAT16);
        Attention.Scores longer = Attention.scores(500, Compute.BFLOAT16);
        Matrix one = new Matrix(tokens, 128);
        Matrix other = new Matrix(tokens, 128)) {
      Blas.setThreads(1);
      attention.apply(q, k, v, fitting, one);
      spoil(longer);
      Blas.setThreads(2);
      attention.apply(q, k, v, longer, other);
      assertThat(other.toArray()).isEqualTo(one.toArray());
      attention.apply(q, k, v, longer, other); // over what the last left there
      assertThat(other.toArray()).isEqualTo(one.toArray());
    }
  }

  @Test
  void masksWhatIsOutsideOfTheSoftmax() {
    float[] row = {5f, 1f, 1f, Float.NaN, 9f, 7f};
    Attention.softmax(row, 1, 3, 5);
    assertThat(row).containsExactly(0f, 0.5f, 0.5f, 0f, 0f, 7f);
  }

  @Test
  void passesNanOn() {
    float[] row = {1f, Float.NaN, 2f};
    Attention.softmax(row, 0, 3, 3);
    assertThat(row).containsOnly(Float.NaN);
  }

  /** What is left in there from other sequences must not matter. */
  private static void spoil(Attention.Scores scores) {
    Attention.Scores.Block block = scores.take();
    fill(block.scores(), Float.NaN);
    Arrays.fill(block.row(), Float.NaN);
    Arrays.fill(block.rounded(), (byte) -1); // NaN, too
    if (!block.weights().isNull()) {
      block.weights().fill(-1);
    }
    scores.giveBack(block);
  }
}
