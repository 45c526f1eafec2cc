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
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.FloatPointer;
import org.nd4j.linalg.factory.Nd4j;
import org.slf4j.LoggerFactory;

/**
 * Matrix products in float32, on the OpenBLAS that ND4J runs on. A product is cut into tiles, each
 * computed by one thread, and no bit of it depends on how many threads there are: OpenBLAS's own
 * threads would cut it anywhere, and round differently along the cuts.
 *
 * <p>It adds up an element's products in the same order in whatever tile the element lies, as long
 * as cuts keep to multiples of the few rows and columns that it works on at once. So tiles are as
 * large as the threads allow: both factors are packed anew for every tile, which costs tiles of 512
 * x 1024 up to a tenth. That it does so is not promised anywhere: it is looked at once, and where
 * it does not, cuts are the same for any number of threads.
 */
public final class Blas {
  /**
   * Cuts lie on multiples of one of these: of the 64, 16 or 4 rows or columns that most kernels
   * work on at once, or also of 12. Finer ones share a product out more evenly.
   */
  private static final int[] UNITS = {64, 192};

  /** Multiply-adds of a tile at least: OpenBLAS has another way, and other bits, for small ones. */
  private static final long SMALLEST = 1 << 22;

  /** Tiles a thread at most. */
  private static final int TILES_A_THREAD = 4;

  /** Packing a row or column of a tile takes as long as so many of its elements. */
  private static final int PACKING = 20;

  private static final int GRAM_TILE = 512;
  private static volatile Limits limits;

  /** Of threads that have limits of their own. */
  private static final ThreadLocal<Limits> OWN = new ThreadLocal<>();

  /** Threads that are at work on tiles. */
  private static final AtomicInteger BUSY = new AtomicInteger();

  private static final Cuts CUTS;

  /**
   * Where a product may be cut, and no bit changes. With OpenBLAS's kernels for AVX2 that is
   * between rows only.
   *
   * @param unit cuts lie on multiples of it
   */
  record Cuts(boolean betweenRows, boolean betweenColumns, int unit) {
    /** Nowhere: tiles have to be the same for any number of threads. */
    static final Cuts NONE = new Cuts(false, false, 1);

    /** As long as a length is cut into so many pieces. */
    private int side(int length, int pieces) {
      int side = (length + pieces - 1) / pieces;
      return Math.min(length, (side + unit - 1) / unit * unit);
    }
  }

  static {
    Nd4j.factory(); // when it starts, it sets OpenBLAS's threads; that must not come later
    int given = Math.max(1, blas_get_num_threads());
    blas_set_num_threads(1);
    setThreads(1); // other threads would wait for this class to be there
    Cuts cuts = Cuts.NONE;
    try {
      cuts = cuts();
    } catch (OutOfMemoryError e) {
      // Whoever needs the memory reports it; here it would take the class away from all.
    }
    CUTS = cuts;
    setThreads(given);
    LoggerFactory.getLogger(Blas.class).debug("Products may be cut with {}", CUTS);
  }

  private Blas() {}

  private static Cuts cuts() {
    for (boolean betweenColumns : new boolean[] {true, false}) {
      for (int unit : UNITS) {
        if (keepsBits(new Cuts(true, betweenColumns, unit))) {
          return new Cuts(true, betweenColumns, unit);
        }
      }
    }
    return Cuts.NONE;
  }

  /**
   * Looks at shapes with all kinds of edges, and at tiles that are multiples of no coarser unit.
   */
  private static boolean keepsBits(Cuts cuts) {
    int side = 320 / cuts.unit * cuts.unit;
    int[][] shapes = {{521, 457, 801}, {431, 1500, 800}};
    for (int[] shape : shapes) {
      Tiling tiling = new Tiling(side, cuts.betweenColumns ? side : shape[1]);
      if (!keepsBits(shape[0], shape[1], shape[2], tiling)) {
        return false;
      }
    }
    return true;
  }

  /** Whether tiles give the bits of the whole. */
  private static boolean keepsBits(int m, int n, int k, Tiling tiling) {
    try (Matrix x = new Matrix(m, k);
        Matrix w = new Matrix(n, k);
        Matrix whole = new Matrix(m, n);
        Matrix tiled = new Matrix(m, n)) {
      fill(x, 1);
      fill(w, 2);
      linear(new Tiling(m, n), x, w, whole);
      linear(tiling, x, w, tiled);
      float[] expected = new float[n];
      float[] actual = new float[n];
      for (int r = 0; r < m; r++) {
        whole.row(r, expected);
        tiled.row(r, actual);
        if (!Arrays.equals(expected, actual)) {
          return false;
        }
      }
      return true;
    }
  }

  private static void fill(Matrix matrix, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    float[] row = new float[matrix.cols()];
    for (long r = 0; r < matrix.rows(); r++) {
      for (int j = 0; j < row.length; j++) {
        row[j] = (float) (random.nextDouble() - 0.5);
      }
      matrix.setRow(r, row);
    }
  }

  private static void linear(Tiling tiling, Matrix x, Matrix w, Matrix out) {
    gemm(
        tiling,
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
        0f,
        out.pointer(0, 0),
        out.cols());
  }

  /** The largest size of the tiles of a product. */
  record Tiling(int rows, int cols) {
    static final Tiling FIXED = new Tiling(512, 1024);

    /**
     * Of a product of m × n elements, each the sum of k products: the tiles that are done first,
     * each thread taking one after the other.
     */
    static Tiling of(int m, int n, int k, int threads, Cuts cuts) {
      if (!cuts.betweenRows) {
        return FIXED;
      }
      // Where columns cannot be cut anywhere, they always are so that many threads have some.
      int pieces = cuts.betweenColumns ? 1 : (n + FIXED.cols * 2 - 1) / (FIXED.cols * 2);
      int most = threads == 1 ? 1 : threads * TILES_A_THREAD;
      Tiling best = new Tiling(m, cuts.side(n, pieces));
      long least = best.cost(m, n, threads);
      for (int down = 1; down <= most; down++) {
        int last = cuts.betweenColumns ? most / down : pieces;
        for (int across = pieces; across <= last; across++) {
          Tiling cut = new Tiling(cuts.side(m, down), cuts.side(n, across));
          long cost = cut.cost(m, n, threads);
          if (cost < least && cut.keepsBits(m, n, k)) {
            least = cost;
            best = cut;
          }
        }
      }
      return best;
    }

    /** What the busiest thread does: the elements of its tiles, and the packing of both factors. */
    private long cost(int m, int n, int threads) {
      long rounds = (count(m, n) + threads - 1L) / threads;
      return rounds * ((long) rows * cols + PACKING * ((long) rows + cols));
    }

    private int down(int m) {
      return (m + rows - 1) / rows;
    }

    private int count(int m, int n) {
      return down(m) * ((n + cols - 1) / cols);
    }

    /** Whether no tile is one that OpenBLAS has another way for: a small one, or a single line. */
    private boolean keepsBits(int m, int n, int k) {
      long lastRows = (m - 1) % rows + 1L;
      long lastCols = (n - 1) % cols + 1L;
      return lastRows * lastCols * k >= SMALLEST
          && (lastRows > 1 || rows == 1)
          && (lastCols > 1 || cols == 1);
    }
  }

  /**
   * Sets how many threads one product uses at most; process-wide. Products of several tasks at once
   * want {@code cores / tasks}. The results do not depend on it.
   */
  public static void setThreads(int threads) {
    setThreads(threads, Integer.MAX_VALUE);
  }

  /**
   * Sets how many threads one product uses at most, and how many all products at once. Products
   * that do not begin and end together share the cores better so: one takes those that another has
   * no use for at the moment. The results do not depend on it.
   *
   * @param all threads of all products; those that ask for a product are always at work on it
   */
  public static void setThreads(int threads, int all) {
    limits = new Limits(threads, all);
  }

  /** Limits of the thread that made them, until it closes them. */
  public static final class OwnLimits implements AutoCloseable {
    private final Limits before = OWN.get();

    private OwnLimits(Limits own) {
      OWN.set(own);
    }

    @Override
    public void close() {
      if (before == null) {
        OWN.remove();
      } else {
        OWN.set(before);
      }
    }
  }

  /**
   * Lets a product of the calling thread use up to {@code all} threads, less those that are at work
   * on other products, whatever {@link #setThreads} says: for what others wait for. The results do
   * not depend on it.
   */
  public static OwnLimits withOwnLimits(int all) {
    return new OwnLimits(new Limits(all, all));
  }

  /**
   * @param each threads of one product at most
   * @param all threads of all products at most
   */
  private record Limits(int each, int all) {}

  private static Limits limits() {
    Limits own = OWN.get();
    return own != null ? own : limits;
  }

  /** How many threads a product of the calling thread uses at most. */
  public static int threads() {
    return limits().each;
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
    if (m == 0 || n == 0) {
      return;
    }
    boolean isLinear = !transposeA && transposeB; // what has been looked at when it is cut
    gemm(
        isLinear ? Tiling.of(m, n, k, threads(), CUTS) : Tiling.FIXED,
        transposeA,
        transposeB,
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

  private static void gemm(
      Tiling tile,
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
    int tilesDown = tile.down(m);
    forEachTile(
        tile.count(m, n),
        number -> {
          int row = number % tilesDown * tile.rows;
          int col = number / tilesDown * tile.cols;
          gemmAlone(
              transposeA,
              transposeB,
              Math.min(tile.rows, m - row),
              Math.min(tile.cols, n - col),
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
   * Where one fails, no other is begun, and none is at work any more when this returns: what they
   * work on may be closed then.
   */
  static void forEachTile(int tiles, IntConsumer work) {
    Limits now = limits();
    int workers = Math.min(now.each, tiles);
    BUSY.incrementAndGet();
    try {
      if (workers > 1) {
        share(tiles, workers, now.all, work);
        return;
      }
      for (int tile = 0; tile < tiles; tile++) {
        work.accept(tile);
      }
    } finally {
      BUSY.decrementAndGet();
    }
  }

  private static void share(int tiles, int workers, int all, IntConsumer work) {
    AtomicInteger next = new AtomicInteger();
    AtomicReference<Throwable> failure = new AtomicReference<>();
    Runnable worker =
        () -> {
          try {
            for (int tile = next.getAndIncrement(); tile < tiles; tile = next.getAndIncrement()) {
              work.accept(tile);
            }
          } catch (RuntimeException | Error e) {
            failure.compareAndSet(null, e);
            next.set(tiles);
          }
        };
    Thread asking = Thread.currentThread();
    IntStream.range(0, workers)
        .parallel()
        .forEach(
            any -> {
              if (Thread.currentThread() == asking) {
                worker.run();
                return;
              }
              try {
                if (BUSY.incrementAndGet() <= all) { // else the cores have enough to do
                  worker.run();
                }
              } finally {
                BUSY.decrementAndGet();
              }
            });
    worker.run(); // what is left, should no part of the above have fallen to this thread
    if (failure.get() instanceof Error error) {
      throw error;
    }
    if (failure.get() instanceof RuntimeException exception) {
      throw exception;
    }
  }
}
