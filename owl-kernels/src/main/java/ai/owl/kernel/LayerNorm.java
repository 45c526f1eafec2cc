package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.Arrays;

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
    RowChunks.forEach(
        x,
        (chunk, from, to) -> {
          float[] row = new float[cols];
          double[] sums = new double[RowOperations.SUMS];
          for (long r = from; r < to; r++) {
            x.row(r, row);
            Arrays.fill(sums, 0);
            RowCode.standardized().addValues(row, 0, cols, sums);
            double mean = RowOperations.total(sums) / cols;
            // From the differences, not from the squares: features far from zero would lose all
            // digits.
            Arrays.fill(sums, 0);
            RowCode.standardized().addSquaredDistances(row, 0, cols, mean, sums);
            double scale = 1 / Math.sqrt(RowOperations.total(sums) / cols + epsilon);
            RowCode.standardized().standardize(row, mean, scale, gain, bias, 0, cols);
            out.setRow(r, row);
          }
        });
  }
}
