package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.function.IntConsumer;

/**
 * Spreads work on independent rows over as many threads as a product may use. Chunks are fixed by
 * the matrix and not by the number of threads, so that sums taken chunk by chunk are the same
 * everywhere.
 */
final class RowChunks {
  private static final int ROWS = 64;
  private static final long WORTHWHILE = 1 << 18; // elements below which threads cost more

  private RowChunks() {}

  /** Works on the rows [from, to) of chunk number {@code chunk}. */
  @FunctionalInterface
  interface Work {
    void on(int chunk, long from, long to);
  }

  /** Number of chunks of a matrix. */
  static int count(Matrix matrix) {
    return Math.toIntExact((matrix.rows() + ROWS - 1) / ROWS);
  }

  /** Does the work on every chunk, on several threads where that pays. */
  static void forEach(Matrix matrix, Work work) {
    int count = count(matrix);
    IntConsumer chunk =
        number -> {
          long from = (long) number * ROWS;
          work.on(number, from, Math.min(matrix.rows(), from + ROWS));
        };
    if (matrix.size() < WORTHWHILE) {
      for (int number = 0; number < count; number++) {
        chunk.accept(number);
      }
    } else {
      Blas.forEachTile(count, chunk);
    }
  }
}
