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

  private static void sweep(
      Matrix weight, Matrix upper, int blockColumns, double sparsity, int kept, int of) {
    int rows = Math.toIntExact(weight.rows());
    int cols = weight.cols();
    try (Matrix errors = new Matrix(rows, Math.min(blockColumns, cols))) {
      for (int first = 0; first < cols; first += blockColumns) {
        int width = Math.min(blockColumns, cols - first);
        float[][] corner = new float[width][width]; // U of the block's own columns
        for (int i = 0; i < width; i++) {
          upper.copyTo(first + i, first + i, corner[i], i, width - i);
        }
        float threshold =
            of == 0 && sparsity > 0
                ? threshold(weight, first, corner, (int) ((long) rows * width * sparsity))
                : -1;
        int start = first;
        RowChunks.forEach(
            weight,
            (chunk, from, to) -> {
              float[] row = new float[width];
              float[] error = new float[errors.cols()];
              boolean[] goes = new boolean[width];
              for (long r = from; r < to; r++) {
                weight.copyTo(r, start, row, 0, width);
                if (of == 0) {
                  for (int j = 0; j < width; j++) {
                    goes[j] = score(row[j], corner[j][j]) <= threshold;
                  }
                }
                sweepRow(row, corner, goes, error, kept, of);
                weight.copyFrom(r, start, row, 0, width);
                errors.setRow(r, error);
              }
            });
        int behind = first + width;
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

  private static void sweepRow(
      float[] row, float[][] corner, boolean[] goes, float[] error, int kept, int of) {
    for (int i = 0; i < row.length; i++) {
      if (of > 0 && i % of == 0) {
        choose(row, corner, goes, i, kept, of);
      }
      if (!goes[i]) {
        error[i] = 0f;
        continue;
      }
      float[] factors = corner[i];
      float e = row[i] / factors[i];
      for (int j = i + 1; j < row.length; j++) {
        row[j] -= e * factors[j];
      }
      row[i] = 0f;
      error[i] = e;
    }
  }

  /** Which of a group's weights go, as they are now. */
  private static void choose(
      float[] row, float[][] corner, boolean[] goes, int first, int kept, int of) {
    for (int j = first; j < first + of; j++) {
      float mine = score(row[j], corner[j][j]);
      int before = 0;
      for (int i = first; i < first + of; i++) {
        float other = score(row[i], corner[i][i]);
        before += other < mine || other == mine && i < j ? 1 : 0;
      }
      goes[j] = before < of - kept;
    }
  }

  private static float score(float weight, float diagonal) {
    return weight * weight / (diagonal * diagonal);
  }

  /** The score at a rank among all rows of a block of columns. */
  private static float threshold(Matrix weight, int first, float[][] corner, int rank) {
    int width = corner.length;
    int[] keys = new int[Math.multiplyExact((int) weight.rows(), width)];
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[width];
          for (long r = from; r < to; r++) {
            weight.copyTo(r, first, row, 0, width);
            for (int j = 0; j < width; j++) {
              keys[(int) r * width + j] = Float.floatToRawIntBits(score(row[j], corner[j][j]));
            }
          }
        });
    RankSearch search = new RankSearch();
    search.search(keys, keys.length, rank);
    return Float.intBitsToFloat(search.key());
  }
}
