package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/** Sums of squares per column, {@code sums_j += Σ_t x_tj²}, in float64. */
public final class ColumnSquares {
  private ColumnSquares() {}

  /**
   * @param x (tokens, features)
   * @param sums (features), added to
   */
  public static void add(Matrix x, double[] sums) {
    float[] row = new float[x.cols()];
    for (long r = 0; r < x.rows(); r++) {
      x.row(r, row);
      for (int j = 0; j < row.length; j++) {
        sums[j] += (double) row[j] * row[j];
      }
    }
  }
}
