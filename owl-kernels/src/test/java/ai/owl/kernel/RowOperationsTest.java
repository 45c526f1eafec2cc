package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assumptions.assumeThat;

import ai.owl.tensor.VectorUnit;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The plain loops and the vector code, bit by bit. */
class RowOperationsTest {
  private static final int[] LENGTHS = {
    0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 207, 1000
  };

  private final RowOperations plain = new PlainRows();
  private RowOperations vector;

  @BeforeEach
  void needsTheModule() {
    assumeThat(VectorUnit.isPresent()).isTrue();
    vector = new VectorRows();
  }

  /** What an operation is given; it may change all of it. */
  private static final class Row {
    final int from;
    final int to;
    final float[] x;
    final float[] y;
    final float[] z;
    final float[] out;
    final int[] keys;
    final int[] found;
    final double[] sums = new double[RowOperations.SUMS];
    final double[] wide;
    final long[] counts = new long[7];
    final double[] scalars = new double[1];

    Row(float[] x, float[] y, int from, int to) {
      this.from = from;
      this.to = to;
      this.x = x.clone();
      this.y = y.clone();
      z = new float[x.length];
      for (int j = 0; j < z.length; j++) {
        z[j] = Math.abs(y[z.length - 1 - j]) + 1e-3f;
      }
      out = new float[x.length];
      keys = new int[x.length];
      for (int j = 0; j < keys.length; j++) {
        keys[j] = Float.floatToRawIntBits(Math.abs(x[j]));
      }
      found = new int[x.length];
      wide = new double[x.length];
      for (int l = 0; l < sums.length; l++) {
        sums[l] = l / 7.0;
      }
    }
  }

  private void same(BiConsumer<RowOperations, Row> operation) {
    Random random = new Random(5);
    for (int length : LENGTHS) {
      for (int offset : new int[] {0, 3}) {
        for (int kind = 0; kind < 4; kind++) {
          float[] x = new float[length + 2 * offset];
          float[] y = new float[x.length];
          for (int j = 0; j < x.length; j++) {
            x[j] = number(random, kind);
            y[j] = number(random, kind == 3 ? 0 : kind);
          }
          Row one = new Row(x, y, offset, offset + length);
          Row two = new Row(x, y, offset, offset + length);
          operation.accept(plain, one);
          operation.accept(vector, two);
          String what = length + " numbers of kind " + kind;
          assertBits(what, one.x, two.x);
          assertBits(what, one.y, two.y);
          assertBits(what, one.out, two.out);
          assertThat(two.keys).as(what).isEqualTo(one.keys);
          assertThat(two.found).as(what).isEqualTo(one.found);
          assertThat(two.counts).as(what).isEqualTo(one.counts);
          assertBits(what, one.sums, two.sums);
          assertBits(what, one.wide, two.wide);
          assertBits(what, one.scalars, two.scalars);
        }
      }
    }
  }

  private static float number(Random random, int kind) {
    return switch (kind) {
      case 0 -> (float) random.nextGaussian();
      case 1 -> random.nextInt(5) - 2f == 0 ? -0f : random.nextInt(5) - 2f; // ties and zeros
      case 2 -> (float) random.nextGaussian() * 0x1p-133f; // subnormal
      default -> (float) (random.nextGaussian() * 60); // beyond what e^x can be
    };
  }

  private static void assertBits(String what, float[] one, float[] two) {
    for (int j = 0; j < one.length; j++) {
      assertThat(Float.floatToIntBits(two[j]))
          .as("%s: element %d, %s and %s", what, j, one[j], two[j])
          .isEqualTo(Float.floatToIntBits(one[j]));
    }
  }

  private static void assertBits(String what, double[] one, double[] two) {
    for (int j = 0; j < one.length; j++) {
      assertThat(Double.doubleToLongBits(two[j]))
          .as("%s: element %d, %s and %s", what, j, one[j], two[j])
          .isEqualTo(Double.doubleToLongBits(one[j]));
    }
  }

  @Test
  void sums() {
    same((rows, row) -> rows.addValues(row.x, row.from, row.to, row.sums));
    same((rows, row) -> rows.addSquares(row.x, row.from, row.to, row.sums));
    same((rows, row) -> rows.addSquaredDistances(row.x, row.from, row.to, 0.3, row.sums));
    same((rows, row) -> rows.addScores(row.x, row.z, row.from, row.to, row.sums));
    same(
        (rows, row) ->
            rows.addColumnSquares(row.x, 3, row.x.length / 3, row.wide, 0, row.x.length / 3));
  }

  @Test
  void exponentials() {
    same((rows, row) -> rows.exponentials(row.x, row.from, row.to, 0.7f));
    same((rows, row) -> rows.silu(row.x, row.from, row.to));
    same((rows, row) -> rows.geluTanh(row.x, row.from, row.to));
  }

  @Test
  void products() {
    same((rows, row) -> rows.multiply(row.x, row.from, row.to, 0.7f));
    same((rows, row) -> rows.multiply(row.x, row.y, row.from, row.to));
    same((rows, row) -> rows.scale(row.x, row.from, 0.7f, row.z, 0, row.to - row.from));
    same((rows, row) -> rows.standardize(row.x, 0.1, 1.7, row.y, row.z, row.from, row.to));
    same(
        (rows, row) -> {
          int half = (row.to - row.from) / 2;
          rows.rotate(row.x, row.from, half, row.y, row.z, 0, 0, half);
        });
  }

  @Test
  void scores() {
    same((rows, row) -> rows.magnitudes(row.x, row.out, row.from, row.to));
    same((rows, row) -> rows.weighted(row.x, row.z, row.out, row.from, row.to));
    same((rows, row) -> rows.relative(row.x, row.z, 3f, row.z, row.out, row.from, row.to));
    same((rows, row) -> rows.keys(row.x, row.keys, row.from, row.to));
    same((rows, row) -> row.scalars[0] = rows.max(row.x, row.from, row.to));
  }

  @Test
  void counts() {
    for (float limit : new float[] {0, 0x1p-133f, 0.5f, 1, 2, 100}) {
      int key = Float.floatToRawIntBits(limit);
      same((rows, row) -> row.counts[0] = rows.countBelow(row.keys, row.from, row.to, key));
    }
    for (int count = 0; count <= 7; count++) {
      int[] limits = new int[count];
      for (int t = 0; t < count; t++) {
        limits[t] = t == 0 ? -1 : Float.floatToRawIntBits(0.4f * (t - 1));
      }
      same((rows, row) -> rows.countAbove(row.x, limits, row.counts, row.from, row.to));
    }
    same((rows, row) -> row.counts[0] = rows.zeros(row.x, row.from, row.to));
  }

  /** One number, wherever it stands, says of a whole row that bfloat16 does not hold it. */
  @Test
  void bfloat16() {
    float[] held = {0f, -0f, 1f, -3.140625f, Float.MIN_NORMAL, -0x1.fep127f, Float.NaN};
    float[] strange = {0x1p-127f, -Float.MIN_VALUE, 0x1.0001p-126f, 1.001f, -Float.MAX_VALUE};
    for (int length : LENGTHS) {
      float[] row = new float[length + 2];
      for (int j = 0; j < row.length; j++) {
        row[j] = held[j % held.length];
      }
      for (RowOperations rows : List.of(plain, vector)) {
        assertThat(rows.areBfloat16(row, 1, length + 1)).isTrue();
        for (int j = 0; j < row.length; j++) {
          float before = row[j];
          row[j] = strange[j % strange.length];
          boolean outside = j < 1 || j > length;
          assertThat(rows.areBfloat16(row, 1, length + 1)).as("%s", row[j]).isEqualTo(outside);
          row[j] = before;
        }
      }
    }
  }

  @Test
  void selection() {
    int one = Float.floatToRawIntBits(1f);
    int two = Float.floatToRawIntBits(2f);
    same(
        (rows, row) ->
            row.counts[0] = rows.collect(row.keys, row.from, row.to, one, two, row.found, 0));
    same((rows, row) -> rows.zeroBelow(row.x, row.keys, one, row.from, row.to));
    for (int group : new int[] {1, 2, 4, 8, 16, 3, 32}) {
      int count = (group + 1) / 2;
      same(
          (rows, row) -> {
            int to = row.from + (row.to - row.from) / group * group;
            rows.zeroInGroups(row.x, row.keys, count, group, row.from, to);
          });
    }
  }

  @Test
  void compensation() {
    Random random = new Random(3);
    for (int[] shape :
        new int[][] {
          {1, 1, 0, 0},
          {3, 5, 0, 0},
          {16, 128, 0, 0},
          {37, 128, 0, 0},
          {64, 50, 0, 0},
          {5, 128, 2, 4},
          {33, 48, 5, 8},
          {20, 64, 9, 32},
          {17, 6, 2, 3}
        }) {
      int count = shape[0];
      int width = shape[1];
      float[] upper = new float[width * width];
      float[] rows = new float[count * width];
      for (int i = 0; i < width; i++) {
        for (int j = i; j < width; j++) {
          upper[i * width + j] = (i == j ? 2 : 0) + 0.1f * (float) random.nextGaussian();
        }
      }
      for (int i = 0; i < rows.length; i++) {
        rows[i] = number(random, i % 3);
      }
      int limit = shape[3] == 0 ? Float.floatToRawIntBits(0.1f) : 0;
      var block = new ErrorCompensation.Columns(width, upper, limit, shape[2], shape[3]);
      float[] one = rows.clone();
      float[] two = rows.clone();
      float[] errors = new float[rows.length];
      float[] others = new float[rows.length];
      plain.compensate(block, one, count, errors);
      vector.compensate(block, two, count, others);
      assertBits(Arrays.toString(shape), one, two);
      assertBits(Arrays.toString(shape), errors, others);
      same((ops, row) -> ops.errorKeys(row.x, row.z, row.keys, 0, row.from, row.to));
    }
  }

  /** Against float64, over all of what e^x can be in float32. */
  @Test
  void exponentialIsCloseToWhatItIs() {
    double worst = 0;
    for (float x = -87.3f; x < 88.7f; x += 1.7e-3f) {
      double truth = Math.exp(x);
      worst = Math.max(worst, Math.abs(PlainRows.exp(x) - truth) / Math.ulp((float) truth));
    }
    assertThat(worst).isLessThan(1.5);
    assertThat(PlainRows.exp(0f)).isEqualTo(1f);
    assertThat(PlainRows.exp(-0f)).isEqualTo(1f);
    assertThat(PlainRows.exp(89f)).isEqualTo(Float.POSITIVE_INFINITY);
    assertThat(PlainRows.exp(Float.POSITIVE_INFINITY)).isEqualTo(Float.POSITIVE_INFINITY);
    assertThat(PlainRows.exp(Float.NEGATIVE_INFINITY)).isEqualTo(0f);
    assertThat(PlainRows.exp(-100f)).isCloseTo(3.78e-44f, within(3e-45f));
    assertThat(PlainRows.exp(Float.NaN)).isNaN();
    for (double x = -700; x < 700; x += 0.37) {
      double truth = Math.exp(x);
      assertThat(PlainRows.exp(x)).isCloseTo(truth, within(truth * 1e-12));
    }
  }

  /** The definition, for every length: running sums, then halves. */
  @Test
  void sumsAreWhatTheyAreDefinedAs() {
    Random random = new Random(7);
    for (int length : LENGTHS) {
      float[] x = new float[length];
      double[] running = new double[RowOperations.SUMS];
      for (int j = 0; j < length; j++) {
        x[j] = (float) random.nextGaussian();
        running[j % RowOperations.SUMS] += x[j];
      }
      double[] found = new double[RowOperations.SUMS];
      plain.addValues(x, 0, length, found);
      assertThat(found).isEqualTo(running);
      double[] folded = running;
      while (folded.length > 1) {
        int half = folded.length / 2;
        double[] next = Arrays.copyOf(folded, half);
        for (int l = 0; l < half; l++) {
          next[l] += folded[half + l];
        }
        folded = next;
      }
      assertThat(RowOperations.total(running)).isEqualTo(folded[0]);
    }
  }

  @Test
  void sparseProducts() {
    int tokens = RowOperations.TOKENS;
    Random random = new Random(7);
    for (int rows : new int[] {1, 2, 9}) {
      for (int kind = 0; kind < 3; kind++) {
        float[] tile = new float[12 + (20 + rows) * tokens];
        for (int j = 0; j < tile.length; j++) {
          tile[j] = number(random, kind);
        }
        float[] weights = new float[rows + 1 + 20 * rows];
        char[] index = new char[weights.length];
        int n = rows + 1;
        for (int r = 0; r < rows; r++) {
          index[r] = (char) n;
          for (int j = r % 3; j < 20 && r != 1; j += 1 + random.nextInt(3)) { // one row is empty
            weights[n] = number(random, kind);
            index[n++] = (char) (12 + j * tokens);
          }
        }
        index[rows] = (char) n;
        float[] one = tile.clone();
        float[] two = tile.clone();
        plain.addSparse(one, 12 + 20 * tokens, weights, index, rows);
        vector.addSparse(two, 12 + 20 * tokens, weights, index, rows);
        assertBits(rows + " rows of kind " + kind, one, two);
        assertThat(kind == 2 || !Arrays.equals(one, tile)).isTrue(); // those products vanish
      }
    }
  }
}
