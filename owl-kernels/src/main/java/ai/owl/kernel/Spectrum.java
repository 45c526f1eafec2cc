package ai.owl.kernel;

import static org.bytedeco.openblas.global.openblas.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas.CblasTrans;
import static org.bytedeco.openblas.global.openblas.CblasUpper;
import static org.bytedeco.openblas.global.openblas.LAPACKE_dsyevd;
import static org.bytedeco.openblas.global.openblas.LAPACK_COL_MAJOR;
import static org.bytedeco.openblas.global.openblas.cblas_dgemm;
import static org.bytedeco.openblas.global.openblas.cblas_dsyrk;

import ai.owl.tensor.Matrix;
import java.io.Serializable;
import java.util.Arrays;
import org.bytedeco.javacpp.DoublePointer;

/**
 * The empirical spectral density of a weight matrix: the squares of its min(rows, cols) singular
 * values, ascending, which are the eigenvalues of the smaller of W·Wᵀ and Wᵀ·W. Immutable.
 *
 * <p>That product squares the condition of the matrix, so it is taken and decomposed in float64. It
 * is cut into tiles of a fixed size, each added up by one thread in the same order, and the
 * decomposition is one thread's: no bit depends on how many there are.
 */
public final class Spectrum implements Serializable {
  private static final long serialVersionUID = 1;
  private static final int TILE = 512;
  private static final int PANEL = 256;

  /** Of nothing: nobody measured. */
  public static final Spectrum EMPTY = new Spectrum(new double[0]);

  private final double[] eigenvalues;

  private Spectrum(double[] eigenvalues) {
    this.eigenvalues = eigenvalues;
  }

  /**
   * A spectrum that is known.
   *
   * @param eigenvalues squared singular values in any order, none negative
   */
  public static Spectrum ofEigenvalues(double... eigenvalues) {
    double[] sorted = eigenvalues.clone();
    Arrays.sort(sorted);
    if (sorted.length > 0 && !(sorted[0] >= 0 && sorted[sorted.length - 1] < 1 / 0.0)) {
      throw new IllegalArgumentException(
          "Cannot make a spectrum of squared singular values from "
              + sorted[0]
              + " to "
              + sorted[sorted.length - 1]);
    }
    return new Spectrum(sorted);
  }

  /** Bytes of working memory for a matrix, its own not counted. */
  public static long workingBytes(long rows, int cols) {
    long n = Math.min(rows, cols);
    return Double.BYTES * (n * n + n * PANEL);
  }

  /**
   * Decomposes a matrix.
   *
   * @param weight (out_features, in_features), finite; not changed
   * @throws IllegalStateException if LAPACK's iteration does not converge
   */
  public static Spectrum of(Matrix weight) {
    boolean wide = weight.rows() <= weight.cols();
    int n = Math.toIntExact(Math.min(weight.rows(), weight.cols()));
    try (DoublePointer gram = new DoublePointer((long) n * n)) {
      DoublePointer.memset(gram, 0, (long) n * n * Double.BYTES);
      if (wide) {
        addColumnPanels(weight, n, gram);
      } else {
        addRowPanels(weight, n, gram);
      }
      double[] eigenvalues = new double[n];
      try (DoublePointer ascending = new DoublePointer((long) n)) {
        // A row-major upper triangle is a column-major lower one.
        int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, (byte) 'N', (byte) 'L', n, gram, n, ascending);
        if (info != 0) {
          throw new IllegalStateException(
              "The eigenvalues of a " + n + " x " + n + " matrix were not found: dsyevd " + info);
        }
        ascending.get(eigenvalues);
      }
      for (int i = 0; i < n; i++) {
        eigenvalues[i] = Math.max(0, eigenvalues[i]); // a square that rounding made negative
      }
      return new Spectrum(eigenvalues);
    }
  }

  /** W·Wᵀ, a few columns of W at a time: panels (n, PANEL). */
  private static void addColumnPanels(Matrix weight, int n, DoublePointer gram) {
    try (DoublePointer panel = new DoublePointer((long) n * PANEL)) {
      for (int first = 0; first < weight.cols(); first += PANEL) {
        int from = first;
        int width = Math.min(PANEL, weight.cols() - first);
        RowChunks.forEach(
            weight,
            (chunk, fromRow, toRow) -> {
              float[] row = new float[width];
              double[] wide = new double[width];
              for (long r = fromRow; r < toRow; r++) {
                weight.copyTo(r, from, row, 0, width);
                widen(row, wide);
                panel.getPointer(r * width).put(wide, 0, width);
              }
            });
        addGram(panel, n, width, width, false, gram);
      }
    }
  }

  /** Wᵀ·W, a few rows of W at a time: panels (PANEL, n). */
  private static void addRowPanels(Matrix weight, int n, DoublePointer gram) {
    try (DoublePointer panel = new DoublePointer((long) n * PANEL)) {
      float[] row = new float[n];
      double[] wide = new double[n];
      for (long first = 0; first < weight.rows(); first += PANEL) {
        int height = (int) Math.min(PANEL, weight.rows() - first);
        for (int r = 0; r < height; r++) {
          weight.row(first + r, row);
          widen(row, wide);
          panel.getPointer((long) r * n).put(wide, 0, n);
        }
        addGram(panel, n, height, n, true, gram);
      }
    }
  }

  private static void widen(float[] row, double[] wide) {
    for (int j = 0; j < row.length; j++) {
      wide[j] = row[j];
    }
  }

  /**
   * Adds the product of a panel with itself, upper triangle and the tiles on the diagonal.
   *
   * @param stride of the panel's rows
   * @param transposed whether the panel is (k, n) and not (n, k)
   */
  private static void addGram(
      DoublePointer panel, int n, int k, int stride, boolean transposed, DoublePointer gram) {
    int across = (n + TILE - 1) / TILE;
    Blas.forEachTile(
        across * (across + 1) / 2,
        tile -> {
          int last = (int) ((Math.sqrt(8.0 * tile + 1) - 1) / 2);
          int first = tile - last * (last + 1) / 2;
          int row = first * TILE;
          int col = last * TILE;
          int cols = Math.min(TILE, n - col);
          DoublePointer a = panel.getPointer(transposed ? row : (long) row * stride);
          DoublePointer b = panel.getPointer(transposed ? col : (long) col * stride);
          DoublePointer c = gram.getPointer((long) row * n + col);
          int left = transposed ? CblasTrans : CblasNoTrans;
          if (row == col) {
            cblas_dsyrk(CblasRowMajor, CblasUpper, left, cols, k, 1, a, stride, 1, c, n);
          } else {
            int right = transposed ? CblasNoTrans : CblasTrans;
            cblas_dgemm(
                CblasRowMajor, left, right, TILE, cols, k, 1, a, stride, b, stride, 1, c, n);
          }
        });
  }

  /** Number of eigenvalues. */
  public int size() {
    return eigenvalues.length;
  }

  public boolean isEmpty() {
    return eigenvalues.length == 0;
  }

  /** The squared singular values, ascending; a copy. */
  public double[] eigenvalues() {
    return eigenvalues.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Spectrum that && Arrays.equals(eigenvalues, that.eigenvalues);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(eigenvalues);
  }

  @Override
  public String toString() {
    return isEmpty()
        ? "Spectrum[]"
        : "Spectrum["
            + eigenvalues.length
            + " from "
            + eigenvalues[0]
            + " to "
            + eigenvalues[eigenvalues.length - 1]
            + "]";
  }
}
