package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.Arrays;

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
    RowChunks.forEach(
        x,
        (chunk, from, to) -> {
          float[] row = new float[x.cols()];
          double[] sums = new double[RowOperations.SUMS];
          for (long r = from; r < to; r++) {
            x.row(r, row);
            for (int first = 0; first < row.length; first += width) {
              Arrays.fill(sums, 0);
              RowCode.forward().addSquares(row, first, first + width, sums);
              double squares = RowOperations.total(sums);
              float scale = (float) (1 / Math.sqrt(squares / width + epsilon));
              RowCode.forward().scale(row, first, scale, gain, 0, width);
            }
            out.setRow(r, row);
          }
        });
  }
}
