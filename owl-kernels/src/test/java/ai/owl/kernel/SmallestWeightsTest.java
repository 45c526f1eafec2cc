package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Random;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SmallestWeightsTest {
  private static final int[] SIZES = {1, 7, 8, 31, 207};

  @Test
  void removesFromEachRowWhatAStableSortPutsFirst() {
    for (int rows : SIZES) {
      for (int cols : SIZES) {
        float[] weights = RandomMatrix.vector(1, rows * cols);
        for (int count : new int[] {0, 1, cols / 3, cols / 2, cols - 1, cols}) {
          checkRows(weights, rows, cols, RandomMatrix.norms(2, cols), count);
        }
      }
    }
    float[] weights = RandomMatrix.vector(1, 700 * 409); // more than 2^18 elements
    checkRows(weights, 700, 409, RandomMatrix.norms(2, 409), 286);
    checkRows(RandomMatrix.vector(3, 3 * 11008), 3, 11008, RandomMatrix.norms(4, 11008), 7705);
  }

  @Test
  void takesTheLowerColumnOfEqualScores() {
    Random random = new Random(1);
    int cols = 207;
    float[] few = {0f, -0f, 0.5f, -0.5f, 1f, -1f};
    float[] weights = values(5 * cols, i -> few[random.nextInt(few.length)]);
    float[] powers = values(cols, j -> (float) Math.pow(2, random.nextInt(3)));
    for (int count = 0; count <= cols; count += 9) {
      checkRows(weights, 5, cols, powers, count);
    }
    float[] equal = values(5 * cols, i -> i % 2 == 0 ? 3f : -3f);
    float[] ones = values(cols, j -> 1f);
    for (int count : new int[] {0, 1, 100, cols}) {
      checkRows(equal, 5, cols, ones, count);
    }
  }

  @Test
  void takesTheFirstColumnsWhereAllNormsAreZero() {
    float[] weights = RandomMatrix.vector(1, 4 * 31);
    float[] silent = new float[31];
    for (int count : new int[] {0, 1, 15, 31}) {
      checkRows(weights, 4, 31, silent, count);
    }
    try (Matrix weight = RandomMatrix.of(weights, 4, 31)) {
      SmallestWeights.zeroInRows(weight, WeightScores.weighted(silent), 3);
      float[] row = new float[31];
      weight.row(2, row);
      assertThat(row).startsWith(0f, 0f, 0f);
      assertThat(row[3]).isNotZero();
    }
  }

  @Test
  void ordersSubnormalAndOverflowingScores() {
    float[] extremes = {
      Float.MIN_VALUE,
      -2 * Float.MIN_VALUE,
      Float.MIN_NORMAL,
      -Math.nextDown(Float.MIN_NORMAL),
      1e-30f,
      0f,
      -0f,
      1e38f,
      -Float.MAX_VALUE,
      Float.MAX_VALUE
    };
    Random random = new Random(3);
    float[] weights = values(6 * 31, i -> extremes[random.nextInt(extremes.length)]);
    float[][] norms = {
      values(31, j -> 1f),
      values(31, j -> 1e19f),
      values(31, j -> Float.MIN_VALUE),
      values(31, j -> extremes[j % 3 * 2])
    };
    for (float[] each : norms) {
      for (int count = 0; count <= 31; count++) {
        checkRows(weights, 6, 31, each, count);
      }
    }
  }

  @Test
  void writesPositiveZerosAndLeavesOtherWeightsUntouched() {
    float[] weights = {-1f, -2f, -0f, -3f};
    try (Matrix weight = RandomMatrix.of(weights, 1, 4)) {
      // The zero is no removed weight: in the order of scores it comes after column 0.
      SmallestWeights.zeroInRows(weight, WeightScores.weighted(new float[] {0f, 1f, 1f, 1f}), 1);
      assertBits(weight.toArray(), 0f, -2f, -0f, -3f);
      SmallestWeights.zeroInRows(weight, WeightScores.weighted(new float[] {0f, 1f, 1f, 1f}), 3);
      assertBits(weight.toArray(), 0f, 0f, 0f, -3f);
    }
  }

  private static void checkRows(float[] weights, int rows, int cols, float[] norms, int count) {
    float[] expected = weights.clone();
    for (int r = 0; r < rows; r++) {
      int begin = r * cols;
      IntStream.range(0, cols)
          .boxed()
          .sorted(Comparator.comparingDouble(j -> Math.abs(weights[begin + j]) * norms[j] + 0.0))
          .limit(count)
          .forEach(j -> expected[begin + j] = 0f);
    }
    try (Matrix weight = RandomMatrix.of(weights, rows, cols)) {
      SmallestWeights.zeroInRows(weight, WeightScores.weighted(norms), count);
      assertBits(weight.toArray(), expected);
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 4", "1, 4", "4, 8", "7, 8", "1, 2", "3, 3", "16, 16"})
  void removesTheSmallestOfEveryGroup(int count, int group) {
    int rows = 130;
    int cols = 6 * group;
    Random random = new Random(11);
    // Few values, so that there are equals in every group.
    float[] weights = values(rows * cols, i -> random.nextInt(7) - 3f);
    float[] norms = values(cols, j -> 1f + random.nextInt(2));
    float[] expected = weights.clone();
    for (int begin = 0; begin < weights.length; begin += group) {
      int first = begin;
      IntStream.range(first, first + group)
          .boxed()
          .sorted(Comparator.comparingDouble(i -> Math.abs(weights[i]) * norms[i % cols] + 0.0))
          .limit(count)
          .forEach(i -> expected[i] = 0f);
    }
    try (Matrix weight = RandomMatrix.of(weights, rows, cols)) {
      SmallestWeights.zeroInGroups(weight, WeightScores.weighted(norms), count, group);
      assertThat(weight.toArray()).isEqualTo(expected);
    }
  }

  @Test
  void removesFromTheMatrixWhatIsNotAboveTheWeightOfTheRank() {
    for (int rows : SIZES) {
      for (int cols : SIZES) {
        int size = rows * cols;
        float[] weights = RandomMatrix.vector(1, size);
        for (int rank : new int[] {0, size / 3, size / 2, size - 1}) {
          checkMatrix(weights, rows, cols, rank);
        }
      }
    }
    checkMatrix(RandomMatrix.vector(1, 700 * 409), 700, 409, 200_000);
  }

  @Test
  void removesAllEqualsOfTheWeightOfTheRank() {
    Random random = new Random(1);
    float[] few = {0f, -0f, 0.25f, -0.25f, 1f, -1f, Float.MIN_VALUE, -Float.MAX_VALUE};
    float[] weights = values(31 * 8, i -> few[random.nextInt(few.length)]);
    for (int rank = 0; rank < weights.length; rank += 7) {
      checkMatrix(weights, 31, 8, rank);
    }
    checkMatrix(values(207, i -> -2f), 9, 23, 0);
    checkMatrix(new float[64], 8, 8, 63);
  }

  /** Magnitudes that differ in the lower half of their bits only. */
  @Test
  void tellsNeighbouringMagnitudesApart() {
    float[] weights = values(207, i -> Float.intBitsToFloat(0x3f800000 + (i * 89) % 207));
    for (int rank = 0; rank < 207; rank++) {
      checkMatrix(weights, 9, 23, rank);
    }
  }

  private static void checkMatrix(float[] weights, int rows, int cols, int rank) {
    float[] sorted = new float[weights.length];
    for (int i = 0; i < weights.length; i++) {
      sorted[i] = Math.abs(weights[i]);
    }
    Arrays.sort(sorted);
    float[] expected = weights.clone();
    for (int i = 0; i < expected.length; i++) {
      if (Math.abs(expected[i]) <= sorted[rank]) {
        expected[i] = 0f;
      }
    }
    try (Matrix weight = RandomMatrix.of(weights, rows, cols)) {
      SmallestWeights.zeroUpToRank(weight, WeightScores.magnitude(), rank);
      assertBits(weight.toArray(), expected);
    }
  }

  @Test
  void selectsTheKeyOfAnyRank() {
    Random random = new Random(7);
    int[][] sets = {
      IntStream.range(0, 207).toArray(),
      IntStream.range(0, 207).map(i -> 207 - i).toArray(),
      IntStream.range(0, 208).map(i -> Math.min(i, 207 - i)).toArray(),
      IntStream.range(0, 207).map(i -> 5).toArray(),
      IntStream.range(0, 207).map(i -> i % 2 << 30).toArray(),
      random.ints(207, 0, 4).toArray(),
      random.ints(207, 0, Integer.MAX_VALUE).toArray(),
      {0, Integer.MAX_VALUE},
      {3}
    };
    RankSearch search = new RankSearch(); // one for all: where the last search ended may not matter
    for (int[] keys : sets) {
      int[] sorted = keys.clone();
      Arrays.sort(sorted);
      for (int rank = 0; rank < keys.length; rank++) {
        int[] before = keys.clone();
        search.search(keys, keys.length, rank);
        int found = sorted[rank];
        assertThat(search.key()).isEqualTo(found);
        assertThat(search.below())
            .isEqualTo((int) Arrays.stream(keys).filter(key -> key < found).count());
        assertThat(search.equal())
            .isEqualTo((int) Arrays.stream(keys).filter(key -> key == found).count());
        assertThat(keys).isEqualTo(before);
      }
    }
  }

  private static float[] values(int count, IntFunction<Float> of) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = of.apply(i);
    }
    return values;
  }

  /** Equal to the sign of a zero. */
  private static void assertBits(float[] found, float... expected) {
    assertThat(found).hasSameSizeAs(expected);
    for (int i = 0; i < found.length; i++) {
      if (Float.floatToRawIntBits(found[i]) != Float.floatToRawIntBits(expected[i])) {
        assertThat(found[i]).as("element %d", i).isEqualTo(expected[i]);
        throw new AssertionError("element " + i + " is " + found[i] + ", not " + expected[i]);
      }
    }
  }
}
