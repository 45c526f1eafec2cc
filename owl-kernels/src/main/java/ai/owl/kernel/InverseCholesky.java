package ai.owl.kernel;

import static org.bytedeco.openblas.global.openblas.CblasLeft;
import static org.bytedeco.openblas.global.openblas.CblasLower;
import static org.bytedeco.openblas.global.openblas.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas.CblasNonUnit;
import static org.bytedeco.openblas.global.openblas.CblasRight;
import static org.bytedeco.openblas.global.openblas.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas.CblasTrans;
import static org.bytedeco.openblas.global.openblas.LAPACKE_dpotrf;
import static org.bytedeco.openblas.global.openblas.LAPACK_COL_MAJOR;
import static org.bytedeco.openblas.global.openblas.cblas_dgemm;
import static org.bytedeco.openblas.global.openblas.cblas_dtrsm;

import ai.owl.tensor.Matrix;
import org.bytedeco.javacpp.DoublePointer;

/**
 * The upper Cholesky factor of the inverse of a symmetric positive definite matrix: U upper
 * triangular with {@code UᵀU = H⁻¹}, what SparseGPT (arXiv 2301.00774) takes its steps by.
 *
 * <p>The published code factors H, inverts it, and factors the inverse: {@code 4/3 · n³}
 * operations, and the rounding of an explicit inverse. Here H is factored from its last column on,
 * {@code H = R·Rᵀ} with R upper triangular; then {@code H⁻¹ = R⁻ᵀ·R⁻¹}, so U is the inverse of R:
 * half of the operations. In float64. The work is cut into tiles of a fixed size, each done by one
 * thread, so that no bit depends on how many threads there are.
 */
public final class InverseCholesky {
  private static final int TILE = 256;

  private InverseCholesky() {}

  /** H is not positive definite. */
  public static final class NotPositiveDefiniteException extends Exception {
    private static final long serialVersionUID = 1;

    private final int column;

    NotPositiveDefiniteException(int column) {
      super("not positive definite at column " + column);
      this.column = column;
    }

    /** The column at which the factorization, which comes from the last one, could not go on. */
    public int column() {
      return column;
    }
  }

  /** Bytes of working memory for a matrix of n columns, the result not counted. */
  public static long workingBytes(int n) {
    return Double.BYTES * (long) n * n;
  }

  /**
   * Factors {@code H = scale · gram}, with the diagonal replaced.
   *
   * @param gram (n, n); only its upper triangle is read
   * @param diagonal of H, (n)
   * @return U (n, n), whose strictly lower triangle is undefined; the caller's to close
   * @throws NotPositiveDefiniteException if H is not positive definite in float64
   */
  public static Matrix upperFactor(Matrix gram, double scale, double[] diagonal)
      throws NotPositiveDefiniteException {
    int n = gram.cols();
    try (DoublePointer lower = new DoublePointer((long) n * n)) {
      reverse(gram, scale, diagonal, lower);
      factor(lower, n);
      return invert(lower, n);
    }
  }

  /** A(i, j) = H(n-1-i, n-1-j) for j at most i, row-major: its lower triangle is H's upper one. */
  private static void reverse(Matrix gram, double scale, double[] diagonal, DoublePointer lower) {
    int n = gram.cols();
    RowChunks.forEach(
        gram,
        (chunk, from, to) -> {
          float[] row = new float[n];
          double[] reversed = new double[n];
          for (int i = (int) from; i < to; i++) {
            gram.copyTo(i, i, row, i, n - i);
            for (int j = i + 1; j < n; j++) {
              reversed[n - 1 - j] = scale * row[j];
            }
            reversed[n - 1 - i] = diagonal[i];
            lower.getPointer((long) (n - 1 - i) * n).put(reversed, 0, n - i);
          }
        });
  }

  /** A = M·Mᵀ in place, M lower triangular, right-looking. */
  private static void factor(DoublePointer a, int n) throws NotPositiveDefiniteException {
    int tiles = (n + TILE - 1) / TILE;
    for (int k = 0; k < tiles; k++) {
      int at = k * TILE;
      int width = Math.min(TILE, n - at);
      // A row-major lower triangle is a column-major upper one.
      int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, (byte) 'U', width, at(a, n, at, at), n);
      if (info != 0) {
        throw new NotPositiveDefiniteException(n - 1 - (at + info - 1));
      }
      int below = tiles - k - 1;
      Blas.forEachTile(
          below,
          tile -> {
            int row = at + (tile + 1) * TILE;
            cblas_dtrsm(
                CblasRowMajor,
                CblasRight,
                CblasLower,
                CblasTrans,
                CblasNonUnit,
                Math.min(TILE, n - row),
                width,
                1,
                at(a, n, at, at),
                n,
                at(a, n, row, at),
                n);
          });
      Blas.forEachTile(
          below * (below + 1) / 2,
          tile -> {
            int down = (int) ((Math.sqrt(8.0 * tile + 1) - 1) / 2);
            int across = tile - down * (down + 1) / 2;
            int row = at + (down + 1) * TILE;
            int col = at + (across + 1) * TILE;
            cblas_dgemm(
                CblasRowMajor,
                CblasNoTrans,
                CblasTrans,
                Math.min(TILE, n - row),
                Math.min(TILE, n - col),
                width,
                -1,
                at(a, n, row, at),
                n,
                at(a, n, col, at),
                n,
                1,
                at(a, n, row, col),
                n);
          });
    }
  }

  /** U(i, j) = (M⁻¹)(n-1-i, n-1-j): the columns of M⁻¹, a tile's width at a time. */
  private static Matrix invert(DoublePointer lower, int n) {
    Matrix upper = new Matrix(n, n);
    int tiles = (n + TILE - 1) / TILE;
    Blas.forEachTile(
        tiles,
        tile -> {
          int at = tile * TILE;
          int width = Math.min(TILE, n - at);
          int height = n - at;
          try (DoublePointer columns = new DoublePointer((long) height * width)) {
            double[] row = new double[width];
            for (int r = 0; r < height; r++) {
              if (r < width) {
                row[r] = 1;
              }
              columns.getPointer((long) r * width).put(row, 0, width);
              if (r < width) {
                row[r] = 0;
              }
            }
            cblas_dtrsm(
                CblasRowMajor,
                CblasLeft,
                CblasLower,
                CblasNoTrans,
                CblasNonUnit,
                height,
                width,
                1,
                at(lower, n, at, at),
                n,
                columns,
                width);
            float[] reversed = new float[width];
            for (int r = 0; r < height; r++) {
              columns.getPointer((long) r * width).get(row, 0, width);
              for (int c = 0; c < width; c++) {
                reversed[width - 1 - c] = (float) row[c];
              }
              upper.copyFrom(n - 1 - (at + r), n - at - width, reversed, 0, width);
            }
          }
        });
    return upper;
  }

  private static DoublePointer at(DoublePointer a, int n, int row, int col) {
    return a.getPointer((long) row * n + col);
  }
}
