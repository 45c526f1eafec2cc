package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.Map;
import java.util.Random;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ScoreHistogramTest {
  /** What such a checkpoint can hold comes back number for number, subnormal ones included. */
  @ParameterizedTest
  @EnumSource(names = {"BF16", "F16"})
  void losesNothingOfHalfPrecisionMagnitudes(DType type) {
    float[][] rows = new float[70][33];
    Random random = new Random(5);
    SortedMap<Double, Long> expected = new TreeMap<>();
    byte[] stored = new byte[33 * type.bytes()];
    for (float[] row : rows) {
      for (int j = 0; j < row.length; j++) {
        row[j] = (float) (random.nextGaussian() * Math.exp(-8 * random.nextDouble()));
      }
      row[0] = 0;
      row[1] = -0f;
      row[2] = 3e-8f; // the smallest float16, more or less
      type.narrow(row, row.length, stored, 0);
      type.widen(stored, 0, row, row.length);
      for (float value : row) {
        expected.merge((double) Math.abs(value), 1L, Long::sum);
      }
    }
    try (Matrix weight = Matrix.of(rows)) {
      ScoreHistogram histogram = ScoreHistogram.of(weight, WeightScores.magnitude());
      assertThat(counts(histogram)).isEqualTo(expected);
      assertThat(histogram.total()).isEqualTo(70 * 33);
    }
  }

  @Test
  void countsOtherScoresByTheirFirstTenBits() {
    Random random = new Random(6);
    float[][] rows = new float[50][40];
    float[] norms = new float[40];
    for (int j = 0; j < norms.length; j++) {
      norms[j] = random.nextFloat() * 3;
    }
    for (float[] row : rows) {
      for (int j = 0; j < row.length; j++) {
        row[j] = (float) random.nextGaussian();
      }
    }
    try (Matrix weight = Matrix.of(rows)) {
      ScoreHistogram histogram = ScoreHistogram.of(weight, WeightScores.weighted(norms));
      long[] expected = new long[ScoreHistogram.BUCKETS];
      for (float[] row : rows) {
        for (int j = 0; j < row.length; j++) {
          float score = Math.abs(row[j]) * norms[j];
          int bucket = Float.floatToRawIntBits(score) >>> 13;
          expected[bucket]++;
          assertThat(histogram.value(bucket)).isCloseTo(score, within(score / 1024.0));
        }
      }
      long[] counts = new long[ScoreHistogram.BUCKETS];
      int[] before = {-1};
      histogram.forEach(
          (bucket, count) -> {
            assertThat(bucket).isGreaterThan(before[0]);
            before[0] = bucket;
            counts[bucket] = count;
          });
      assertThat(counts).isEqualTo(expected);
    }
  }

  /** Gaps and counts above one, two and three times seven bits. */
  @Test
  void keepsLargeGapsAndCounts() {
    float[][] rows = new float[200][100];
    for (int r = 0; r < rows.length; r++) {
      for (int j = 0; j < 100; j++) {
        rows[r][j] = r == 0 ? j == 0 ? 1e30f : 1e-30f : 0.5f;
      }
    }
    try (Matrix weight = Matrix.of(rows)) {
      SortedMap<Double, Long> counts = new TreeMap<>();
      ScoreHistogram histogram = ScoreHistogram.of(weight, WeightScores.magnitude());
      histogram.forEach((bucket, count) -> counts.put(histogram.value(bucket), count));
      assertThat(counts.values()).containsExactly(99L, 199 * 100L, 1L);
    }
  }

  @Test
  void isSmallAndTravels() throws Exception {
    Random random = new Random(7);
    float[][] rows = new float[500][400];
    for (float[] row : rows) {
      for (int j = 0; j < row.length; j++) {
        row[j] = (float) random.nextGaussian();
      }
    }
    try (Matrix weight = Matrix.of(rows)) {
      ScoreHistogram histogram = ScoreHistogram.of(weight, WeightScores.magnitude());
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
        out.writeObject(histogram);
      }
      assertThat(bytes.size()).isLessThan(50_000); // of 800 000 bytes of weights
      try (ObjectInputStream in =
          new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
        assertThat(in.readObject()).isEqualTo(histogram).hasSameHashCodeAs(histogram);
      }
      rows[0][0] = 100;
      try (Matrix other = Matrix.of(rows)) {
        assertThat(ScoreHistogram.of(other, WeightScores.magnitude())).isNotEqualTo(histogram);
      }
    }
  }

  private static SortedMap<Double, Long> counts(ScoreHistogram histogram) {
    Map<Double, Long> counts = new TreeMap<>();
    histogram.forEach((bucket, count) -> counts.put(histogram.value(bucket), count));
    return new TreeMap<>(counts);
  }
}
