package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * Layer normalization (arXiv 1607.06450): {@code y = (x − mean(x)) / sqrt(var(x) + epsilon) · gain
 * + bias}, row by row, with the variance over all n features, not n − 1.
 */
public final class LayerNorm {
  private LayerNorm() {}

  /**
   * @param x (tokens, hidden)
   * @param gain (hidden)
   * @param bias (hidden)
   * @param out (tokens, hidden); may be {@code x} itself
   */
  public static void apply(Matrix x, float[] gain, float[] bias, float epsilon, Matrix out) {
    int cols = x.cols();
    float[] row = new float[cols];
    for (long r = 0; r < x.rows(); r++) {
      x.row(r, row);
      double mean = 0;
      for (float value : row) {
        mean += value;
      }
      mean /= cols;
      // From the differences, not from the squares: features far from zero would lose all digits.
      double squares = 0;
      for (float value : row) {
        squares += (value - mean) * (value - mean);
      }
      double scale = 1 / Math.sqrt(squares / cols + epsilon);
      for (int j = 0; j < cols; j++) {
        row[j] = (float) ((row[j] - mean) * scale) * gain[j] + bias[j];
      }
      out.setRow(r, row);
    }
  }
}
