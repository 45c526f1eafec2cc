package ai.owl.kernel;

import java.util.Arrays;

/** {@link RowOperations} one element after the other. */
final class PlainRows implements RowOperations {
  static final float LOG2_E = 1.44269504f;
  static final double SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

  /** Adding and taking away 1.5 · 2^23 rounds to an integer, which the sum's lower bits hold. */
  static final float TO_INTEGER = 0x1.8p23f;

  static final double TO_INTEGER_64 = 0x1.8p52;

  /** ln 2 in two parts; a small integer times the first is exact. */
  static final float LN2_HIGH = 0.693359375f;

  static final float LN2_LOW = -2.12194440e-4f;
  static final double LN2_HIGH_64 = 6.93145751953125e-1;
  static final double LN2_LOW_64 = 1.42860682030941723212e-6;

  /** Beyond, e^x is 0 or infinite in float32. */
  static final float EXP_MIN = -104f;

  static final float EXP_MAX = 89f;
  static final double EXP_MIN_64 = -708;
  static final double EXP_MAX_64 = 709;

  /** Of {@code (e^r − 1 − r) / r²} on [−ln 2 / 2, ln 2 / 2], highest power first (Cephes). */
  static final float[] EXP = {
    1.9875691500e-4f,
    1.3981999507e-3f,
    8.3334519073e-3f,
    4.1665795894e-2f,
    1.6666665459e-1f,
    5.0000001201e-1f
  };

  /**
   * {@code e^x} to about one unit in the last place: {@code x = n ln 2 + r}, a polynomial in r, and
   * the power of two in two steps, so that subnormals round once. Without fused multiply-add, which
   * not every processor has and which would give other bits. This is what e^x means in the forward
   * pass, everywhere.
   */
  static float exp(float x) {
    float at = x < EXP_MIN ? EXP_MIN : x;
    at = at > EXP_MAX ? EXP_MAX : at;
    float shifted = at * LOG2_E + TO_INTEGER;
    int n = Float.floatToRawIntBits(shifted) - Float.floatToRawIntBits(TO_INTEGER);
    float whole = shifted - TO_INTEGER;
    float r = at - whole * LN2_HIGH - whole * LN2_LOW;
    float p = EXP[0];
    p = p * r + EXP[1];
    p = p * r + EXP[2];
    p = p * r + EXP[3];
    p = p * r + EXP[4];
    p = p * r + EXP[5];
    p = p * (r * r) + r + 1f;
    int half = n >> 1;
    return p * Float.intBitsToFloat(half + 127 << 23) * Float.intBitsToFloat(n - half + 127 << 23);
  }

  /** {@code e^x} to 1e-12, and within [1e-308, 1e308]. */
  static double exp(double x) {
    double at = x < EXP_MIN_64 ? EXP_MIN_64 : x;
    at = at > EXP_MAX_64 ? EXP_MAX_64 : at;
    double shifted = at * LOG2_E_64 + TO_INTEGER_64;
    long n = Double.doubleToRawLongBits(shifted) - Double.doubleToRawLongBits(TO_INTEGER_64);
    double whole = shifted - TO_INTEGER_64;
    double r = at - whole * LN2_HIGH_64 - whole * LN2_LOW_64;
    double p = FACTORIALS[0];
    for (int k = 1; k < FACTORIALS.length; k++) {
      p = p * r + FACTORIALS[k];
    }
    long half = n >> 1;
    return p
        * Double.longBitsToDouble(half + 1023 << 52)
        * Double.longBitsToDouble(n - half + 1023 << 52);
  }

  static final double LOG2_E_64 = 1.4426950408889634;

  /** 1/10!, 1/9!, …, 1/1!, 1/0!. */
  static final double[] FACTORIALS = {
    1.0 / 3628800,
    1.0 / 362880,
    1.0 / 40320,
    1.0 / 5040,
    1.0 / 720,
    1.0 / 120,
    1.0 / 24,
    1.0 / 6,
    1.0 / 2,
    1,
    1
  };

  @Override
  public void addValues(float[] x, int from, int to, double[] sums) {
    int j = from;
    for (; j <= to - SUMS; j += SUMS) {
      for (int l = 0; l < SUMS; l++) {
        sums[l] += x[j + l];
      }
    }
    for (int l = 0; j < to; j++, l++) {
      sums[l] += x[j];
    }
  }

  @Override
  public void addSquares(float[] x, int from, int to, double[] sums) {
    int j = from;
    for (; j <= to - SUMS; j += SUMS) {
      for (int l = 0; l < SUMS; l++) {
        sums[l] += (double) x[j + l] * x[j + l];
      }
    }
    for (int l = 0; j < to; j++, l++) {
      sums[l] += (double) x[j] * x[j];
    }
  }

  @Override
  public void addSquaredDistances(float[] x, int from, int to, double center, double[] sums) {
    int j = from;
    for (; j <= to - SUMS; j += SUMS) {
      for (int l = 0; l < SUMS; l++) {
        double distance = x[j + l] - center;
        sums[l] += distance * distance;
      }
    }
    for (int l = 0; j < to; j++, l++) {
      double distance = x[j] - center;
      sums[l] += distance * distance;
    }
  }

  @Override
  public void addScores(float[] weights, float[] norms, int from, int to, double[] sums) {
    int j = from;
    for (; j <= to - SUMS; j += SUMS) {
      for (int l = 0; l < SUMS; l++) {
        sums[l] += Math.abs(weights[j + l]) * norms[j + l];
      }
    }
    for (int l = 0; j < to; j++, l++) {
      sums[l] += Math.abs(weights[j]) * norms[j];
    }
  }

  @Override
  public void addColumnSquares(
      float[] rows, int count, int width, double[] sums, int from, int to) {
    for (int r = 0; r < count; r++) {
      int at = r * width;
      for (int j = from; j < to; j++) {
        sums[j] += (double) rows[at + j] * rows[at + j];
      }
    }
  }

  @Override
  public float max(float[] x, int from, int to) {
    float max = Float.NEGATIVE_INFINITY;
    for (int j = from; j < to; j++) {
      max = Math.max(max, x[j]);
    }
    return max;
  }

  @Override
  public void exponentials(float[] x, int from, int to, float shift) {
    for (int j = from; j < to; j++) {
      x[j] = exp(x[j] - shift);
    }
  }

  @Override
  public void multiply(float[] x, int from, int to, float factor) {
    for (int j = from; j < to; j++) {
      x[j] *= factor;
    }
  }

  @Override
  public void multiply(float[] x, float[] by, int from, int to) {
    for (int j = from; j < to; j++) {
      x[j] *= by[j];
    }
  }

  @Override
  public void scale(float[] x, int at, float scale, float[] gain, int from, int to) {
    for (int j = from; j < to; j++) {
      x[at + j] = x[at + j] * scale * gain[j];
    }
  }

  @Override
  public void standardize(
      float[] x, double mean, double scale, float[] gain, float[] bias, int from, int to) {
    for (int j = from; j < to; j++) {
      x[j] = (float) ((x[j] - mean) * scale) * gain[j] + bias[j];
    }
  }

  @Override
  public void silu(float[] x, int from, int to) {
    for (int j = from; j < to; j++) {
      x[j] = x[j] / (1f + exp(-x[j]));
    }
  }

  @Override
  public void geluTanh(float[] x, int from, int to) {
    for (int j = from; j < to; j++) {
      double value = x[j];
      double inner = SQRT_2_OVER_PI * (value + 0.044715 * value * value * value);
      // (1 + tanh(t)) / 2 = 1 / (1 + e^-2t), which costs an exponential and cancels nothing.
      x[j] = (float) (value / (1 + exp(-2 * inner)));
    }
  }

  @Override
  public void rotate(
      float[] x, int at, int half, float[] cos, float[] sin, int table, int from, int to) {
    for (int j = from; j < to; j++) {
      float a = x[at + j];
      float b = x[at + half + j];
      x[at + j] = a * cos[table + j] - b * sin[table + j];
      x[at + half + j] = b * cos[table + j] + a * sin[table + j];
    }
  }

  @Override
  public void magnitudes(float[] weights, float[] scores, int from, int to) {
    for (int j = from; j < to; j++) {
      scores[j] = Math.abs(weights[j]);
    }
  }

  @Override
  public void weighted(float[] weights, float[] norms, float[] scores, int from, int to) {
    for (int j = from; j < to; j++) {
      scores[j] = Math.abs(weights[j]) * norms[j];
    }
  }

  @Override
  public void relative(
      float[] weights,
      float[] columns,
      float row,
      float[] factors,
      float[] scores,
      int from,
      int to) {
    for (int j = from; j < to; j++) {
      float magnitude = Math.abs(weights[j]);
      // A zero is worth nothing, also where its whole row or column is zero.
      scores[j] = magnitude == 0f ? 0f : (magnitude / columns[j] + magnitude / row) * factors[j];
    }
  }

  @Override
  public void keys(float[] scores, int[] keys, int from, int to) {
    for (int j = from; j < to; j++) {
      keys[j] = Float.floatToRawIntBits(scores[j]) & 0x7fffffff;
    }
  }

  @Override
  public int countBelow(int[] keys, int from, int to, int limit) {
    int below = 0;
    for (int j = from; j < to; j++) {
      below += keys[j] - limit >>> 31;
    }
    return below;
  }

  @Override
  public int collect(int[] keys, int from, int to, int low, int high, int[] found, int size) {
    int at = size;
    for (int j = from; j < to; j++) {
      if ((keys[j] - low | high - keys[j]) >= 0) {
        found[at++] = keys[j];
      }
    }
    return at;
  }

  @Override
  public void zeroBelow(float[] x, int[] keys, int limit, int from, int to) {
    for (int j = from; j < to; j++) {
      int kept = ~(keys[j] - limit >> 31); // without a branch, which would be mispredicted
      x[j] = Float.intBitsToFloat(Float.floatToRawIntBits(x[j]) & kept);
    }
  }

  @Override
  public void zeroInGroups(float[] x, int[] keys, int count, int group, int from, int to) {
    for (int first = from; first < to; first += group) {
      for (int j = first; j < first + group; j++) {
        // One among the smallest has fewer than count before it in stable order.
        int before = 0;
        for (int i = first; i < j; i++) {
          before += keys[i] - keys[j] - 1 >>> 31;
        }
        for (int i = j + 1; i < first + group; i++) {
          before += keys[i] - keys[j] >>> 31;
        }
        if (before < count) {
          x[j] = 0f;
        }
      }
    }
  }

  @Override
  public void countAbove(float[] scores, int[] limits, long[] counts, int from, int to) {
    for (int t = 0; t < limits.length; t++) {
      int limit = limits[t];
      int above = 0;
      for (int j = from; j < to; j++) {
        above += limit - (Float.floatToRawIntBits(scores[j]) & 0x7fffffff) >>> 31;
      }
      counts[t] += above;
    }
  }

  @Override
  public int zeros(float[] x, int from, int to) {
    int zeros = 0;
    for (int j = from; j < to; j++) {
      zeros += (Float.floatToRawIntBits(x[j]) & 0x7fffffff) - 1 >>> 31;
    }
    return zeros;
  }

  @Override
  public boolean areBfloat16(float[] x, int from, int to) {
    int strange = 0;
    for (int j = from; j < to; j++) {
      int bits = Float.floatToRawIntBits(x[j]);
      int magnitude = bits & 0x7fffffff;
      // 1 below the smallest normal number, but for zero: 1..2^23-1 minus 1 is positive.
      strange |= bits & 0xffff | (magnitude - 0x00800000 & ~(magnitude - 1)) >>> 31;
    }
    return strange == 0;
  }

  @Override
  public void errorKeys(float[] weights, float[] diagonal, int[] keys, int at, int from, int to) {
    for (int j = from; j < to; j++) {
      keys[at + j] = errorKey(weights[j], diagonal[j]);
    }
  }

  private static int errorKey(float weight, float diagonal) {
    return Float.floatToRawIntBits(weight * weight / (diagonal * diagonal)) & 0x7fffffff;
  }

  @Override
  public void compensate(ErrorCompensation.Columns block, float[] rows, int count, float[] errors) {
    int width = block.width();
    float[] upper = block.upper();
    // Rows of their own: the JIT makes no vector code of a loop over two arrays at two offsets.
    float[][] factors = new float[width][];
    for (int i = 0; i < width; i++) {
      factors[i] = Arrays.copyOfRange(upper, i * width, (i + 1) * width);
    }
    float[] row = new float[width];
    boolean[] goes = new boolean[width];
    for (int r = 0; r < count; r++) {
      for (int j = 0; j < width; j++) {
        row[j] = rows[r * width + j] + 0f; // −0.0 + 0.0 is +0.0
        goes[j] = block.of() == 0 && errorKey(row[j], upper[j * width + j]) < block.limit();
      }
      for (int i = 0; i < width; i++) {
        if (block.of() > 0 && i % block.of() == 0) {
          choose(block, row, goes, i);
        }
        float e = 0;
        if (goes[i]) {
          e = row[i] / factors[i][i];
          subtract(row, e, factors[i], i + 1);
          row[i] = 0f;
        }
        errors[r * width + i] = e;
      }
      System.arraycopy(row, 0, rows, r * width, width);
    }
  }

  private static void subtract(float[] row, float e, float[] factors, int from) {
    for (int j = from; j < row.length; j++) {
      row[j] -= e * factors[j];
    }
  }

  /** Which of a group's weights go, as they are now. */
  private static void choose(
      ErrorCompensation.Columns block, float[] row, boolean[] goes, int first) {
    int width = block.width();
    int end = first + block.of();
    for (int j = first; j < end; j++) {
      int mine = errorKey(row[j], block.upper()[j * width + j]);
      int before = 0;
      for (int i = first; i < end; i++) {
        int other = errorKey(row[i], block.upper()[i * width + i]);
        before += other < mine || other == mine && i < j ? 1 : 0;
      }
      goes[j] = before < block.of() - block.kept();
    }
  }

  @Override
  public void addSparse(float[] tile, int at, float[] weights, char[] index, int rows) {
    for (int r = 0, sums = at; r < rows; r++, sums += TOKENS) {
      for (int n = index[r]; n < index[r + 1]; n++) {
        for (int t = 0; t < TOKENS; t++) {
          tile[sums + t] = Math.fma(weights[n], tile[index[n] + t], tile[sums + t]);
        }
      }
    }
  }
}
