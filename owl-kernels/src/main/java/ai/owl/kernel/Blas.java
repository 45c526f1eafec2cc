package ai.owl.kernel;

import static org.bytedeco.openblas.global.openblas.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas.CblasTrans;
import static org.bytedeco.openblas.global.openblas.CblasUpper;
import static org.bytedeco.openblas.global.openblas.blas_get_num_threads;
import static org.bytedeco.openblas.global.openblas.blas_set_num_threads;
import static org.bytedeco.openblas.global.openblas.cblas_sgemm;
import static org.bytedeco.openblas.global.openblas.cblas_sgemv;
import static org.bytedeco.openblas.global.openblas.cblas_ssyrk;

import ai.owl.tensor.Matrix;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.FloatPointer;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Matrix products in float32, on the OpenBLAS that ND4J runs on. A product is made of tiles of a
 * fixed size, each computed by one thread, so that no bit of it depends on how many threads there
 * are: OpenBLAS's own threads would cut it by their number, and round differently along the cuts.
 */
public final class Blas {
  private static final int TILE_ROWS = 512;
  private static final int TILE_COLS = 1024;
  private static final int GRAM_TILE = 512;
  private static volatile int threads;

  static {
    Nd4j.factory(); // when it starts, it sets OpenBLAS's threads; that must not come later
    threads = Math.max(1, blas_get_num_threads());
    blas_set_num_threads(1);
  }

  private Blas() {}

  /**
   * Sets how many threads one product uses at most; process-wide. Products of several tasks at once
   * want {@code cores / tasks}. The results do not depend on it.
   */
  public static void setThreads(int threads) {
    Blas.threads = threads;
  }

  public static int threads() {
    return threads;
  }

  /**
   * The product of a linear layer without bias: {@code out = x · wᵀ + beta · out}.
   *
   * @param x (rows, in_features)
   * @param w (out_features, in_features), as checkpoints store it
   * @param out (rows, out_features)
   */
  public static void linear(Matrix x, Matrix w, float beta, Matrix out) {
    if (x.rows() == 1) { // a product with one row would spend its time on packing w
      cblas_sgemv(
          CblasRowMajor,
          CblasNoTrans,
          (int) w.rows(),
          w.cols(),
          1f,
          w.pointer(0, 0),
          w.cols(),
          x.pointer(0, 0),
          1,
          beta,
          out.pointer(0, 0),
          1);
      return;
    }
    gemm(
        false,
        true,
        (int) x.rows(),
        (int) w.rows(),
        x.cols(),
        1f,
        x.pointer(0, 0),
        x.cols(),
        w.pointer(0, 0),
        w.cols(),
        beta,
        out.pointer(0, 0),
        out.cols());
  }

  /**
   * {@code c = alpha · op(a) · op(b) + beta · c}, with op(a) m × k and op(b) k × n, all row-major
   * with their row strides.
   */
  static void gemm(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      FloatPointer a,
      int strideA,
      FloatPointer b,
      int strideB,
      float beta,
      FloatPointer c,
      int strideC) {
    int tilesDown = (m + TILE_ROWS - 1) / TILE_ROWS;
    int tiles = tilesDown * ((n + TILE_COLS - 1) / TILE_COLS);
    forEachTile(
        tiles,
        tile -> {
          int row = tile % tilesDown * TILE_ROWS;
          int col = tile / tilesDown * TILE_COLS;
          gemmAlone(
              transposeA,
              transposeB,
              Math.min(TILE_ROWS, m - row),
              Math.min(TILE_COLS, n - col),
              k,
              alpha,
              a.getPointer(transposeA ? row : (long) row * strideA),
              strideA,
              b.getPointer(transposeB ? (long) col * strideB : col),
              strideB,
              beta,
              c.getPointer((long) row * strideC + col),
              strideC);
        });
  }

  /** The same as one product of the calling thread, for products that are small and many. */
  static void gemmAlone(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      FloatPointer a,
      int strideA,
      FloatPointer b,
      int strideB,
      float beta,
      FloatPointer c,
      int strideC) {
    cblas_sgemm(
        CblasRowMajor,
        transposeA ? CblasTrans : CblasNoTrans,
        transposeB ? CblasTrans : CblasNoTrans,
        m,
        n,
        k,
        alpha,
        a,
        strideA,
        b,
        strideB,
        beta,
        c,
        strideC);
  }

  /**
   * The Gram matrix of the columns of x, added up: {@code gram += xᵀ · x}, upper triangle only.
   *
   * @param x (tokens, features)
   * @param gram (features, features); its strictly lower triangle is not touched, but for the tiles
   *     on the diagonal
   */
  public static void addGram(Matrix x, Matrix gram) {
    int n = x.cols();
    int across = (n + GRAM_TILE - 1) / GRAM_TILE;
    forEachTile(
        across * (across + 1) / 2,
        tile -> {
          int last = (int) ((Math.sqrt(8.0 * tile + 1) - 1) / 2);
          int first = tile - last * (last + 1) / 2;
          int row = first * GRAM_TILE;
          int col = last * GRAM_TILE;
          int cols = Math.min(GRAM_TILE, n - col);
          if (row == col) {
            cblas_ssyrk(
                CblasRowMajor,
                CblasUpper,
                CblasTrans,
                cols,
                (int) x.rows(),
                1f,
                x.pointer(0, col),
                n,
                1f,
                gram.pointer(row, col),
                n);
            return;
          }
          cblas_sgemm(
              CblasRowMajor,
              CblasTrans,
              CblasNoTrans,
              GRAM_TILE,
              cols,
              (int) x.rows(),
              1f,
              x.pointer(0, row),
              n,
              x.pointer(0, col),
              n,
              1f,
              gram.pointer(row, col),
              n);
        });
  }

  /**
   * Spreads tiles, which are independent of each other, over as many threads as a product may use.
   */
  static void forEachTile(int tiles, IntConsumer work) {
    AtomicInteger next = new AtomicInteger();
    Runnable worker =
        () -> {
          for (int tile = next.getAndIncrement(); tile < tiles; tile = next.getAndIncrement()) {
            work.accept(tile);
          }
        };
    int workers = Math.min(threads, tiles);
    if (workers <= 1) {
      worker.run();
    } else {
      IntStream.range(0, workers).parallel().forEach(any -> worker.run());
    }
  }
}
