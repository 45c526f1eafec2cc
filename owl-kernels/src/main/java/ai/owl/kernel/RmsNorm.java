package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * Root-mean-square normalization (arXiv 1910.07467): {@code y = x / sqrt(mean(x²) + epsilon) ·
 * gain}, row by row.
 */
public final class RmsNorm {
  private RmsNorm() {}

  /**
   * @param x (tokens, hidden)
   * @param gain (hidden)
   * @param out (tokens, hidden); may be {@code x} itself
   */
  public static void apply(Matrix x, float[] gain, float epsilon, Matrix out) {
    int cols = x.cols();
    float[] row = new float[cols];
    for (long r = 0; r < x.rows(); r++) {
      x.row(r, row);
      float scale = (float) (1 / Math.sqrt(sumOfSquares(row) / cols + epsilon));
      for (int j = 0; j < cols; j++) {
        row[j] = row[j] * scale * gain[j];
      }
      out.setRow(r, row);
    }
  }

  /** Four running sums, so that the additions do not wait for each other. */
  private static double sumOfSquares(float[] row) {
    double a = 0;
    double b = 0;
    double c = 0;
    double d = 0;
    int j = 0;
    for (; j + 3 < row.length; j += 4) {
      a += (double) row[j] * row[j];
      b += (double) row[j + 1] * row[j + 1];
      c += (double) row[j + 2] * row[j + 2];
      d += (double) row[j + 3] * row[j + 3];
    }
    for (; j < row.length; j++) {
      a += (double) row[j] * row[j];
    }
    return a + b + (c + d);
  }
}
