package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * Reductions over {@code |W_ij| · norm_j}, the score that Wanda prunes by (arXiv 2306.11695) and
 * OWL counts outliers of (arXiv 2310.05175), evaluated in float32 as the published code does.
 */
public final class WeightedMagnitude {
  private WeightedMagnitude() {}

  /** The sum of all scores of a weight matrix. */
  public static double sum(Matrix weight, float[] norms) {
    double[] sums = new double[RowChunks.count(weight)];
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          double[] running = new double[RowOperations.SUMS];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            RowCode.selection().addScores(row, norms, 0, row.length, running);
          }
          sums[chunk] = RowOperations.total(running);
        });
    double total = 0;
    for (double sum : sums) {
      total += sum;
    }
    return total;
  }

  /**
   * Adds to {@code counts[t]} how many scores are strictly above {@code thresholds[t]}, for all
   * thresholds in one scan.
   */
  public static void countAbove(Matrix weight, float[] norms, float[] thresholds, long[] counts) {
    int[] limits = new int[thresholds.length];
    for (int t = 0; t < limits.length; t++) {
      limits[t] = key(thresholds[t]);
    }
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          long[] above = new long[thresholds.length];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            RowCode.selection().weighted(row, norms, row, 0, row.length);
            RowCode.selection().countAbove(row, limits, above, 0, row.length);
          }
          synchronized (counts) {
            for (int t = 0; t < above.length; t++) {
              counts[t] += above[t];
            }
          }
        });
  }

  /** The largest key of a score that is not above a threshold: −1 if there is none. */
  private static int key(float threshold) {
    if (Float.isNaN(threshold)) {
      return Integer.MAX_VALUE;
    }
    return threshold < 0 ? -1 : Float.floatToRawIntBits(Math.abs(threshold));
  }
}
