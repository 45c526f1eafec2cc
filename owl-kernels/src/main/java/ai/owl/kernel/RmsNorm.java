package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * Root-mean-square normalization (arXiv 1910.07467): {@code y = x / sqrt(mean(x²) + epsilon) ·
 * gain}, row by row, or head by head.
 */
public final class RmsNorm {
  private RmsNorm() {}

  /**
   * @param x (tokens, n · width): every width features are normalized by themselves
   * @param gain (width)
   * @param out shaped as {@code x}; may be {@code x} itself
   */
  public static void apply(Matrix x, float[] gain, float epsilon, Matrix out) {
    int width = gain.length;
    float[] row = new float[x.cols()];
    for (long r = 0; r < x.rows(); r++) {
      x.row(r, row);
      for (int first = 0; first < row.length; first += width) {
        double squares = sumOfSquares(row, first, first + width);
        float scale = (float) (1 / Math.sqrt(squares / width + epsilon));
        for (int j = 0; j < width; j++) {
          row[first + j] = row[first + j] * scale * gain[j];
        }
      }
      out.setRow(r, row);
    }
  }

  /** Four running sums, so that the additions do not wait for each other. */
  private static double sumOfSquares(float[] row, int from, int to) {
    double a = 0;
    double b = 0;
    double c = 0;
    double d = 0;
    int j = from;
    for (; j + 3 < to; j += 4) {
      a += (double) row[j] * row[j];
      b += (double) row[j + 1] * row[j + 1];
      c += (double) row[j + 2] * row[j + 2];
      d += (double) row[j + 3] * row[j + 3];
    }
    for (; j < to; j++) {
      a += (double) row[j] * row[j];
    }
    return a + b + (c + d);
  }
}
