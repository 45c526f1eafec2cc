package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * Counts the scores of a matrix by the upper bits of their keys ({@link RowOperations}), on as many
 * threads as a product may use, each with counts of its own.
 */
final class KeyHistogram {
  /** Rows of a share are so many that its counts stay within an int. */
  private static final long MOST = 1 << 30;

  private KeyHistogram() {}

  /**
   * Adds to {@code counts[(key − low) >>> shift]} for every key in [low, high].
   *
   * @return the bits that any of these keys has
   */
  static int add(Matrix weight, WeightScores scores, int shift, int low, int high, long[] counts) {
    // More threads would spend more on their counts than on the scores.
    long worthwhile = 1 + weight.size() / (8L * counts.length);
    long shares = Math.min(Math.min(Blas.threads(), worthwhile), weight.rows());
    shares = Math.max(1, Math.max(shares, Math.min(weight.rows(), weight.size() / MOST)));
    int count = (int) shares;
    int[] seen = new int[1];
    Blas.forEachTile(
        count,
        share -> {
          int[] mine = new int[counts.length];
          int bits =
              add(
                  weight,
                  scores,
                  shift,
                  low,
                  high,
                  mine,
                  weight.rows() * share / count,
                  weight.rows() * (share + 1) / count);
          synchronized (counts) {
            seen[0] |= bits;
            for (int b = 0; b < mine.length; b++) {
              counts[b] += mine[b];
            }
          }
        });
    return seen[0];
  }

  private static int add(
      Matrix weight,
      WeightScores scores,
      int shift,
      int low,
      int high,
      int[] counts,
      long from,
      long to) {
    float[] row = new float[weight.cols()];
    float[] scored = new float[row.length];
    int[] keys = new int[row.length];
    int[] found = new int[row.length];
    boolean isAll = low == 0 && high == Integer.MAX_VALUE;
    int bits = 0;
    for (long r = from; r < to; r++) {
      weight.row(r, row);
      scores.of(r, row, scored);
      RowCode.selection().keys(scored, keys, 0, row.length);
      int[] counted = isAll ? keys : found;
      int size =
          isAll
              ? row.length
              : RowCode.selection().collect(keys, 0, row.length, low, high, found, 0);
      for (int i = 0; i < size; i++) {
        counts[counted[i] - low >>> shift]++;
        bits |= counted[i];
      }
    }
    return bits;
  }
}
