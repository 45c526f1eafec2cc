package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * SparseGPT's sweep over the columns of a weight matrix (arXiv 2301.00774, algorithm 1): left to
 * right, weights are removed and what that changes of the layer's output is made up for by the
 * columns that come after.
 *
 * <p>With U the upper Cholesky factor of the inverse Hessian, columns i of a block of columns B:
 *
 * <pre>
 * e_i = (w_i − q_i) / U_ii             q_i = w_i where it is kept, 0 where not
 * W_ij ← W_ij − e_i · U_ij             j &gt; i, within the block at once, behind it as one product
 * </pre>
 *
 * <p>Rows are independent of each other but for the choice of an unstructured mask, which compares
 * {@code W_ij² / U_jj²} of all rows and a block's columns.
 */
public final class ErrorCompensation {
  private ErrorCompensation() {}

  /**
   * Prunes without a pattern: in every block of columns goes what scores at most as high as rank
   * {@code floor(size · sparsity)}, that one and its equals included, as published.
   *
   * @param weight (out_features, in_features), changed
   * @param upper U, (in_features, in_features)
   * @param sparsity share to remove, in [0, 1)
   * @param blockColumns columns that are chosen from together; published 128
   */
  public static void prune(Matrix weight, Matrix upper, double sparsity, int blockColumns) {
    sweep(weight, upper, blockColumns, sparsity, 0, 0);
  }

  /**
   * Prunes to a pattern: when the sweep reaches a group of {@code of} columns, the {@code of −
   * kept} weights of each row go that score lowest then, of equal ones the lower column first.
   *
   * @param of a divisor of {@code blockColumns} and of in_features
   */
  public static void prune(Matrix weight, Matrix upper, int kept, int of, int blockColumns) {
    sweep(weight, upper, blockColumns, 0, kept, of);
  }

  /**
   * A block of columns, and what goes of it.
   *
   * @param width number of columns
   * @param upper U of these columns alone, (width, width) row by row
   * @param limit without a pattern: weights go whose {@code w² / U_jj²} has a key below
   * @param kept weights that stay in each group
   * @param of columns of a group; 0 without a pattern
   */
  record Columns(int width, float[] upper, int limit, int kept, int of) {}

  private static void sweep(
      Matrix weight, Matrix upper, int blockColumns, double sparsity, int kept, int of) {
    int rows = Math.toIntExact(weight.rows());
    int cols = weight.cols();
    RankSearch search = new RankSearch(); // the next block's threshold is close to the last one's
    int[] keys = of == 0 && sparsity > 0 ? new int[Math.multiplyExact(rows, blockColumns)] : null;
    try (Matrix errors = new Matrix(rows, Math.min(blockColumns, cols))) {
      for (int first = 0; first < cols; first += blockColumns) {
        int width = Math.min(blockColumns, cols - first);
        int behind = first + width;
        float[] corner = new float[width * width];
        for (int i = 0; i < width; i++) {
          upper.copyTo(first + i, first + i, corner, i * width + i, width - i);
        }
        int limit = 0;
        if (keys != null) {
          keys(weight, first, width, corner, keys);
          search.search(keys, rows * width, (int) ((long) rows * width * sparsity));
          limit = search.key() + 1;
        }
        sweep(weight, first, new Columns(width, corner, limit, kept, of), errors);
        if (behind < cols) {
          Blas.gemm(
              false,
              false,
              rows,
              cols - behind,
              width,
              -1f,
              errors.pointer(0, 0),
              errors.cols(),
              upper.pointer(first, behind),
              upper.cols(),
              1f,
              weight.pointer(0, behind),
              cols);
        }
      }
    }
  }

  private static void sweep(Matrix weight, int first, Columns block, Matrix errors) {
    int width = block.width();
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          int count = (int) (to - from);
          float[] rows = new float[count * width];
          float[] error = new float[count * width];
          for (int r = 0; r < count; r++) {
            weight.copyTo(from + r, first, rows, r * width, width);
          }
          RowCode.compensation().compensate(block, rows, count, error);
          for (int r = 0; r < count; r++) {
            weight.copyFrom(from + r, first, rows, r * width, width);
            errors.copyFrom(from + r, 0, error, r * width, width);
          }
        });
  }

  /** The keys of {@code W_ij² / U_jj²} of all rows of a block of columns. */
  private static void keys(Matrix weight, int first, int width, float[] corner, int[] keys) {
    float[] diagonal = new float[width];
    for (int j = 0; j < width; j++) {
      diagonal[j] = corner[j * width + j];
    }
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[width];
          for (long r = from; r < to; r++) {
            weight.copyTo(r, first, row, 0, width);
            RowCode.compensation().errorKeys(row, diagonal, keys, (int) r * width, 0, width);
          }
        });
  }
}
