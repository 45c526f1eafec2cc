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
    float[] row = new float[weight.cols()];
    double total = 0;
    for (long r = 0; r < weight.rows(); r++) {
      weight.row(r, row);
      double sum = 0;
      for (int j = 0; j < row.length; j++) {
        sum += Math.abs(row[j]) * norms[j];
      }
      total += sum;
    }
    return total;
  }

  /**
   * Adds to {@code counts[t]} how many scores are strictly above {@code thresholds[t]}, for all
   * thresholds in one scan.
   */
  public static void countAbove(Matrix weight, float[] norms, float[] thresholds, long[] counts) {
    float[] row = new float[weight.cols()];
    for (long r = 0; r < weight.rows(); r++) {
      weight.row(r, row);
      for (int j = 0; j < row.length; j++) {
        row[j] = Math.abs(row[j]) * norms[j];
      }
      for (int t = 0; t < thresholds.length; t++) {
        float threshold = thresholds[t];
        int above = 0;
        for (int j = 0; j < row.length; j++) {
          above += row[j] > threshold ? 1 : 0;
        }
        counts[t] += above;
      }
    }
  }
}
