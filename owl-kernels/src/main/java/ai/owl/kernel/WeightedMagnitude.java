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
          double sum = 0;
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            for (int j = 0; j < row.length; j++) {
              sum += Math.abs(row[j]) * norms[j];
            }
          }
          sums[chunk] = sum;
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
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          long[] above = new long[thresholds.length];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            for (int j = 0; j < row.length; j++) {
              row[j] = Math.abs(row[j]) * norms[j];
            }
            for (int t = 0; t < thresholds.length; t++) {
              above[t] += countAbove(row, thresholds[t]);
            }
          }
          synchronized (counts) {
            for (int t = 0; t < above.length; t++) {
              counts[t] += above[t];
            }
          }
        });
  }

  private static int countAbove(float[] row, float threshold) {
    int above = 0;
    for (int j = 0; j < row.length; j++) {
      above += row[j] > threshold ? 1 : 0;
    }
    return above;
  }
}
