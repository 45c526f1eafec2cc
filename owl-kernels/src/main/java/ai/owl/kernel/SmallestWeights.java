package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * Sets the weights with the smallest scores to zero. A score is never negative, so its float32 bits
 * order as integers do, and selection works on those.
 */
public final class SmallestWeights {
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
    RankSearch search = new RankSearch();
    for (long r = from; r < to; r++) {
      weight.row(r, row);
      scores.of(r, row, scored);
      RowCode.selection().keys(scored, keys, 0, cols);
      search.search(keys, cols, count - 1);
      int threshold = search.key();
      int ties = count - search.below();
      if (ties == search.equal()) {
        RowCode.selection().zeroBelow(row, keys, threshold + 1, 0, cols);
      } else {
        RowCode.selection().zeroBelow(row, keys, threshold, 0, cols);
        for (int j = 0; ties > 0; j++) {
          if (keys[j] == threshold) {
            row[j] = 0f;
            ties--;
          }
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
          int[] keys = new int[weight.cols()];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            scores.of(r, row, scored);
            RowCode.selection().keys(scored, keys, 0, row.length);
            RowCode.groups().zeroInGroups(row, keys, count, group, 0, row.length);
            weight.setRow(r, row);
          }
        });
  }

  /**
   * Zeroes every weight whose score is at most the one with the given rank in the whole matrix,
   * that one and all its equals included.
   *
   * @param weight changed
   * @param rank 0-based rank in the ascending order of the scores, below {@code weight.size()}
   */
  public static void zeroUpToRank(Matrix weight, WeightScores scores, long rank) {
    int threshold = keyAtRank(weight, scores, rank);
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          float[] scored = new float[weight.cols()];
          int[] keys = new int[weight.cols()];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            scores.of(r, row, scored);
            RowCode.selection().keys(scored, keys, 0, row.length);
            RowCode.selection().zeroBelow(row, keys, threshold + 1, 0, row.length);
            weight.setRow(r, row);
          }
        });
  }

  /**
   * The key of the score with the given rank: a histogram of the upper half of the bits, then one
   * of the lower half of those that share the upper. Memory does not depend on the matrix.
   */
  private static int keyAtRank(Matrix weight, WeightScores scores, long rank) {
    long[] upper = new long[1 << 31 - HALF_SHIFT];
    KeyHistogram.add(weight, scores, HALF_SHIFT, 0, Integer.MAX_VALUE, upper);
    long left = rank;
    int high = 0;
    while (left >= upper[high]) {
      left -= upper[high++];
    }
    long[] lower = new long[1 << HALF_SHIFT];
    int first = high << HALF_SHIFT;
    KeyHistogram.add(weight, scores, 0, first, first + lower.length - 1, lower);
    int low = 0;
    while (left >= lower[low]) {
      left -= lower[low++];
    }
    return first + low;
  }
}
