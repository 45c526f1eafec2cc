package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.Arrays;
import java.util.function.IntUnaryOperator;

/**
 * Sets the weights with the smallest scores to zero. A score is never negative, so its float32 bits
 * order as integers do, and selection works on those.
 */
public final class SmallestWeights {
  private static final int TOP_SHIFT =
      20; // the upper 11 of 31 bits: exponent and first three bits of the mantissa
  private static final int TOP_BUCKETS = 1 << (31 - TOP_SHIFT);
  private static final int HALF_SHIFT = 15;

  private SmallestWeights() {}

  /**
   * In each row, zeroes the {@code count} weights with the smallest scores; of equal scores the
   * lower column goes first. The same weights a stable ascending sort of the row would put in
   * front.
   *
   * @param weight (out_features, in_features), changed
   * @param count weights to remove from each row, at most in_features
   */
  public static void zeroInRows(Matrix weight, WeightScores scores, int count) {
    if (count == 0) {
      return;
    }
    RowChunks.forEach(weight, (chunk, from, to) -> zeroInRows(weight, scores, count, from, to));
  }

  private static void zeroInRows(
      Matrix weight, WeightScores scores, int count, long from, long to) {
    int cols = weight.cols();
    float[] row = new float[cols];
    float[] scored = new float[cols];
    int[] keys = new int[cols];
    int[] scratch = new int[cols];
    int[] histogram = new int[TOP_BUCKETS];
    for (long r = from; r < to; r++) {
      weight.row(r, row);
      scores.of(r, row, scored);
      for (int j = 0; j < cols; j++) {
        keys[j] = Float.floatToRawIntBits(scored[j]);
      }
      int threshold = select(keys, cols, count - 1, scratch, histogram);
      int ties = count;
      for (int j = 0; j < cols; j++) {
        if (keys[j] < threshold) {
          row[j] = 0f;
          ties--;
        }
      }
      for (int j = 0; ties > 0; j++) {
        if (keys[j] == threshold) {
          row[j] = 0f;
          ties--;
        }
      }
      weight.setRow(r, row);
    }
  }

  /**
   * In each row, zeroes the {@code count} weights with the smallest scores of every {@code group}
   * neighbours; of equal scores the lower column goes first.
   *
   * @param weight (out_features, in_features), changed; in_features is a multiple of {@code group}
   * @param count weights to remove from each group, at most {@code group}
   */
  public static void zeroInGroups(Matrix weight, WeightScores scores, int count, int group) {
    if (count == 0) {
      return;
    }
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          float[] scored = new float[weight.cols()];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            scores.of(r, row, scored);
            for (int first = 0; first < row.length; first += group) {
              zeroSmallest(row, scored, first, first + group, count);
            }
            weight.setRow(r, row);
          }
        });
  }

  /** A score among the smallest has fewer than {@code count} before it in stable order. */
  private static void zeroSmallest(float[] row, float[] scores, int from, int to, int count) {
    for (int j = from; j < to; j++) {
      int before = 0;
      for (int i = from; i < to; i++) {
        before += scores[i] < scores[j] || scores[i] == scores[j] && i < j ? 1 : 0;
      }
      if (before < count) {
        row[j] = 0f;
      }
    }
  }

  /**
   * Zeroes every weight whose score is at most the one with the given rank in the whole matrix,
   * that one and all its equals included.
   *
   * @param weight changed
   * @param rank 0-based rank in the ascending order of the scores, below {@code weight.size()}
   */
  public static void zeroUpToRank(Matrix weight, WeightScores scores, long rank) {
    float threshold = Float.intBitsToFloat(bitsAtRank(weight, scores, rank));
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          float[] scored = new float[weight.cols()];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            scores.of(r, row, scored);
            for (int j = 0; j < row.length; j++) {
              if (scored[j] <= threshold) {
                row[j] = 0f;
              }
            }
            weight.setRow(r, row);
          }
        });
  }

  /**
   * The bits of the score with the given rank: a histogram of the upper half of the bits, then one
   * of the lower half of those that share the upper. Memory does not depend on the matrix.
   */
  private static int bitsAtRank(Matrix weight, WeightScores scores, long rank) {
    long[] upper = new long[1 << 31 - HALF_SHIFT];
    addToHistogram(weight, scores, upper, bits -> bits >>> HALF_SHIFT);
    long left = rank;
    int high = 0;
    while (left >= upper[high]) {
      left -= upper[high++];
    }
    int shared = high;
    long[] lower = new long[1 << HALF_SHIFT];
    addToHistogram(
        weight,
        scores,
        lower,
        bits -> bits >>> HALF_SHIFT == shared ? bits & (1 << HALF_SHIFT) - 1 : -1);
    int low = 0;
    while (left >= lower[low]) {
      left -= lower[low++];
    }
    return high << HALF_SHIFT | low;
  }

  /** Counts the scores of a matrix by bucket; those in bucket -1 are left out. */
  private static void addToHistogram(
      Matrix weight, WeightScores scores, long[] histogram, IntUnaryOperator bucket) {
    float[] row = new float[weight.cols()];
    float[] scored = new float[weight.cols()];
    for (long r = 0; r < weight.rows(); r++) {
      weight.row(r, row);
      scores.of(r, row, scored);
      for (float score : scored) {
        int b = bucket.applyAsInt(Float.floatToRawIntBits(score));
        if (b >= 0) {
          histogram[b]++;
        }
      }
    }
  }

  /** The key with the given rank; keys are not negative. */
  static int select(int[] keys, int rank) {
    return select(keys, keys.length, rank, new int[keys.length], new int[TOP_BUCKETS]);
  }

  /**
   * The key with the given rank: a histogram of the upper bits, then quickselect among the few that
   * share them.
   */
  static int select(int[] keys, int length, int rank, int[] scratch, int[] histogram) {
    Arrays.fill(histogram, 0);
    for (int j = 0; j < length; j++) {
      histogram[keys[j] >>> TOP_SHIFT]++;
    }
    int left = rank;
    int bucket = 0;
    while (left >= histogram[bucket]) {
      left -= histogram[bucket++];
    }
    int size = 0;
    for (int j = 0; j < length; j++) {
      if (keys[j] >>> TOP_SHIFT == bucket) {
        scratch[size++] = keys[j];
      }
    }
    return quickselect(scratch, size, left);
  }

  /** Hoare's selection with the median of three as pivot; reorders {@code keys}. */
  private static int quickselect(int[] keys, int length, int rank) {
    int low = 0;
    int high = length - 1;
    while (low < high) {
      int middle = low + high >>> 1;
      int pivot =
          Math.max(
              Math.min(keys[low], keys[high]),
              Math.min(Math.max(keys[low], keys[high]), keys[middle]));
      int i = low;
      int j = high;
      while (i <= j) {
        while (keys[i] < pivot) {
          i++;
        }
        while (keys[j] > pivot) {
          j--;
        }
        if (i <= j) {
          int swap = keys[i];
          keys[i++] = keys[j];
          keys[j--] = swap;
        }
      }
      if (rank <= j) {
        high = j;
      } else if (rank >= i) {
        low = i;
      } else {
        return pivot;
      }
    }
    return keys[low];
  }
}
