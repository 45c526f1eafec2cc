package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/** Sums of squares per column, {@code sums_j += Σ_t x_tj²}, in float64, token by token. */
public final class ColumnSquares {
  /** Columns and rows of a piece: it and its sums stay in a core's first cache. */
  private static final int COLUMNS = 512;

  private static final int TOKENS = 8;

  private ColumnSquares() {}

  /**
   * @param x (tokens, features)
   * @param sums (features), added to
   */
  public static void add(Matrix x, double[] sums) {
    int strips = (x.cols() + COLUMNS - 1) / COLUMNS;
    Blas.forEachTile(
        strips,
        strip -> {
          int first = strip * COLUMNS;
          int width = Math.min(COLUMNS, x.cols() - first);
          float[] piece = new float[TOKENS * width];
          double[] mine = new double[width];
          System.arraycopy(sums, first, mine, 0, width);
          for (long t = 0; t < x.rows(); t += TOKENS) {
            int count = (int) Math.min(TOKENS, x.rows() - t);
            for (int r = 0; r < count; r++) {
              x.copyTo(t + r, first, piece, r * width, width);
            }
            RowCode.forward().addColumnSquares(piece, count, width, mine, 0, width);
          }
          System.arraycopy(mine, 0, sums, first, width);
        });
  }
}
