package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.openblas.global.openblas;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class BlasTest {
  private static final int[] SIZES = {1, 7, 8, 31, 207};
  private static final Blas.Cuts ANYWHERE = new Blas.Cuts(true, true, 192);
  private static final Blas.Cuts ROWS = new Blas.Cuts(true, false, 192);

  private final int threads = Blas.threads();

  @AfterEach
  void giveThreadsBack() {
    Blas.setThreads(threads);
  }

  @Test
  void multipliesByTheTransposedWeight() {
    for (int tokens : SIZES) {
      for (int out : SIZES) {
        for (int in : SIZES) {
          checkLinear(tokens, out, in, 0);
        }
      }
    }
    checkLinear(257, 1025, 513, 0);
    checkLinear(1030, 1027, 7, 0); // several tiles in both directions
  }

  @Test
  void addsToTheResultThatIsThere() {
    for (int size : SIZES) {
      checkLinear(size, size + 1, size, 1);
    }
  }

  /** With beta 0 the result holds NaN before, as fresh memory may. */
  private static void checkLinear(int tokens, int outFeatures, int inFeatures, float beta) {
    try (Matrix x = RandomMatrix.of(1, tokens, inFeatures);
        Matrix w = RandomMatrix.of(2, outFeatures, inFeatures);
        Matrix out =
            beta == 0
                ? RandomMatrix.filled(Float.NaN, tokens, outFeatures)
                : RandomMatrix.of(3, tokens, outFeatures)) {
      float[] before = out.toArray();
      Blas.linear(x, w, beta, out);
      float[] a = x.toArray();
      float[] b = w.toArray();
      Truth truth = new Truth(tokens, outFeatures);
      for (int i = 0; i < tokens; i++) {
        for (int j = 0; j < outFeatures; j++) {
          double sum = beta == 0 ? 0 : beta * before[i * outFeatures + j];
          double size = Math.abs(sum);
          for (int k = 0; k < inFeatures; k++) {
            double product = (double) a[i * inFeatures + k] * b[j * inFeatures + k];
            sum += product;
            size += Math.abs(product);
          }
          truth.set(i, j, sum, 6e-8 * (4 + Math.sqrt(inFeatures)) * size);
        }
      }
      truth.holdsFor(out);
    }
  }

  @Test
  void multipliesPartsOfMatricesInEveryOrientation() {
    for (boolean transposeA : new boolean[] {false, true}) {
      for (boolean transposeB : new boolean[] {false, true}) {
        checkPart(transposeA, transposeB, 31, 8, 7);
        checkPart(transposeA, transposeB, 1, 1, 31);
        checkPart(transposeA, transposeB, 530, 1040, 3);
      }
    }
  }

  private static void checkPart(boolean transposeA, boolean transposeB, int m, int n, int k) {
    int colsA = (transposeA ? m : k) + 6;
    int colsB = (transposeB ? k : n) + 9;
    int colsC = n + 11;
    try (Matrix a = RandomMatrix.of(1, (transposeA ? k : m) + 3, colsA);
        Matrix b = RandomMatrix.of(2, (transposeB ? n : k) + 5, colsB);
        Matrix c = RandomMatrix.of(3, m + 8, colsC)) {
      float[] from = a.toArray();
      float[] by = b.toArray();
      float[] before = c.toArray();
      Blas.gemm(
          transposeA,
          transposeB,
          m,
          n,
          k,
          0.5f,
          a.pointer(3, 4),
          colsA,
          b.pointer(5, 6),
          colsB,
          2f,
          c.pointer(7, 9),
          colsC);
      Truth truth = new Truth(m + 8, colsC);
      for (int i = 0; i < m + 8; i++) {
        for (int j = 0; j < colsC; j++) {
          int row = i - 7;
          int col = j - 9;
          double value = before[i * colsC + j];
          if (row < 0 || row >= m || col < 0 || col >= n) {
            truth.set(i, j, value, 0); // outside of the part nothing is touched
            continue;
          }
          value *= 2;
          for (int l = 0; l < k; l++) {
            int atA = transposeA ? (3 + l) * colsA + 4 + row : (3 + row) * colsA + 4 + l;
            int atB = transposeB ? (5 + col) * colsB + 6 + l : (5 + l) * colsB + 6 + col;
            value += 0.5 * from[atA] * by[atB];
          }
          truth.set(i, j, value, 1e-5 * Math.max(1, Math.abs(value)));
        }
      }
      truth.holdsFor(c);
    }
  }

  @Test
  void leavesRowsBeyondAViewAlone() {
    try (Matrix x = RandomMatrix.of(1, 5, 31);
        Matrix w = RandomMatrix.of(2, 7, 31);
        Matrix whole = RandomMatrix.filled(4f, 5, 7);
        Matrix part = RandomMatrix.filled(4f, 5, 7)) {
      Blas.linear(x, w, 0f, whole);
      Blas.linear(x.firstRows(3), w, 0f, part.firstRows(3));
      Truth truth = new Truth(5, 7);
      float[] expected = whole.toArray();
      for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 7; j++) {
          truth.set(i, j, i < 3 ? expected[i * 7 + j] : 4, i < 3 ? 1e-5 : 0);
        }
      }
      truth.holdsFor(part);
    }
  }

  @Test
  void givesTheSameBitsWithAnyNumberOfThreads() {
    int[][] shapes = {
      {1, 1, 1},
      {7, 8, 31},
      {1, 207, 207},
      {1, 2048, 2048},
      {2, 1000, 4096},
      {31, 1100, 207},
      {600, 1100, 300},
      {207, 207, 207},
      {128, 128, 64},
      {257, 1025, 513},
      {512, 64, 2048},
      {2047, 33, 300},
      {1000, 5504, 129},
      {130, 4100, 700}
    };
    for (int[] shape : shapes) {
      try (Matrix x = RandomMatrix.of(1, shape[0], shape[2]);
          Matrix w = RandomMatrix.of(2, shape[1], shape[2]);
          Matrix one = new Matrix(shape[0], shape[1]);
          Matrix two = new Matrix(shape[0], shape[1])) {
        Blas.setThreads(1);
        assertThat(Blas.threads()).isEqualTo(1);
        Blas.linear(x, w, 0f, one);
        for (int threads : new int[] {2, 3, 7, 16}) {
          Blas.setThreads(threads);
          assertThat(Blas.threads()).isEqualTo(threads);
          Blas.linear(x, w, 0f, two);
          assertThat(two.toArray())
              .as("%d x %d x %d, %d threads", shape[0], shape[1], shape[2], threads)
              .isEqualTo(one.toArray());
        }
      }
    }
  }

  @Test
  void cutsAProductIntoAsManyTilesAsThreadsCanWorkOn() {
    assertThat(tiling(1024, 5504, 2048, 1)).isEqualTo(new Blas.Tiling(1024, 5504));
    // Two large ones that are nearly even.
    assertThat(tiling(2048, 4096, 4096, 2)).isEqualTo(new Blas.Tiling(2048, 2112));
    // A thread each, and those as square as they can be.
    assertThat(tiling(3840, 3840, 2048, 4)).isEqualTo(new Blas.Tiling(1920, 1920));
    // Too little work for more than one.
    assertThat(tiling(100, 100, 100, 16)).isEqualTo(new Blas.Tiling(100, 100));
    // Cuts that would leave a sliver are none.
    assertThat(tiling(193, 64, 2048, 2)).isEqualTo(new Blas.Tiling(193, 64));
    assertThat(tiling(385, 1, 100_000, 2).rows()).isNotEqualTo(192);
    for (int threads = 2; threads < 40; threads++) {
      Blas.Tiling tile = tiling(2050, 4100, 300, threads);
      assertThat(tile.rows() % 192 == 0 || tile.rows() == 2050).isTrue();
      assertThat(tile.cols() % 192 == 0 || tile.cols() == 4100).isTrue();
      int down = (2050 + tile.rows() - 1) / tile.rows();
      int across = (4100 + tile.cols() - 1) / tile.cols();
      // The busiest thread has little more than its share.
      long rounds = (down * across + threads - 1) / threads;
      assertThat(rounds * tile.rows() * tile.cols() * threads).isLessThan(2L * 2050 * 4100);
      assertThat(((2050 - 1) % tile.rows() + 1L) * ((4100 - 1) % tile.cols() + 1L) * 300)
          .isGreaterThanOrEqualTo(1 << 22);
    }
  }

  @Test
  void sharesOutMoreEvenlyWhereCutsMayBeFine() {
    Blas.Cuts fine = new Blas.Cuts(true, true, 64);
    assertThat(Blas.Tiling.of(1024, 2048, 2048, 2, fine)).isEqualTo(new Blas.Tiling(1024, 1024));
    assertThat(Blas.Tiling.of(1024, 5504, 2048, 2, fine)).isEqualTo(new Blas.Tiling(1024, 2752));
    assertThat(tiling(1024, 2048, 2048, 2)).isEqualTo(new Blas.Tiling(1024, 1152));
  }

  private static Blas.Tiling tiling(int m, int n, int k, int threads) {
    return Blas.Tiling.of(m, n, k, threads, ANYWHERE);
  }

  @Test
  void cutsOnlyRowsWhereColumnsAreNotToBeCut() {
    for (int threads = 1; threads < 40; threads++) {
      Blas.Tiling tile = Blas.Tiling.of(2050, 4100, 300, threads, ROWS);
      assertThat(tile.cols()).isEqualTo(1536);
      assertThat(tile.rows() % 192 == 0 || tile.rows() == 2050).isTrue();
      // Three tiles across: three threads have one each, more want some down, too.
      assertThat(tile.rows()).isLessThanOrEqualTo(threads == 1 || threads == 3 ? 2050 : 1152);
      assertThat(Blas.Tiling.of(2050, 4100, 300, threads, Blas.Cuts.NONE))
          .isEqualTo(new Blas.Tiling(512, 1024));
    }
  }

  @Test
  void hasNothingToDoForNoRows() {
    try (Matrix x = new Matrix(0, 5);
        Matrix w = RandomMatrix.of(2, 7, 5);
        Matrix out = new Matrix(0, 7)) {
      Blas.linear(x, w, 0f, out);
    }
  }

  @Test
  void waitsForAllTilesBeforeItTellsOfOneThatFailed() {
    Blas.setThreads(2);
    AtomicInteger atWork = new AtomicInteger();
    CountDownLatch both = new CountDownLatch(2);
    assertThatThrownBy(
            () ->
                Blas.forEachTile(
                    1000,
                    tile -> {
                      atWork.incrementAndGet();
                      both.countDown();
                      await(both);
                      if (tile == 1) {
                        throw new OutOfMemoryError("tile 1");
                      }
                      atWork.decrementAndGet();
                    }))
        .isInstanceOf(OutOfMemoryError.class)
        .hasMessage("tile 1");
    assertThat(atWork.get()).isEqualTo(1); // the failed one alone
  }

  @Test
  void oneThreadsOwnLimitsHoldForItAlone() throws InterruptedException {
    Blas.setThreads(3);
    AtomicInteger ofAnother = new AtomicInteger();
    try (Blas.OwnLimits outer = Blas.withOwnLimits(5)) {
      Blas.setThreads(2); // what another task begins with
      assertThat(Blas.threads()).isEqualTo(5);
      Thread another = new Thread(() -> ofAnother.set(Blas.threads()));
      another.start();
      another.join();
      try (Blas.OwnLimits inner = Blas.withOwnLimits(7)) {
        assertThat(Blas.threads()).isEqualTo(7);
      }
      assertThat(Blas.threads()).isEqualTo(5);
    }
    Blas.setThreads(1);
    Set<Thread> atWork = ConcurrentHashMap.newKeySet();
    CountDownLatch both = new CountDownLatch(2);
    try (Blas.OwnLimits two = Blas.withOwnLimits(2)) {
      Blas.forEachTile(
          2,
          tile -> {
            atWork.add(Thread.currentThread());
            both.countDown();
            await(both);
          });
    }
    assertThat(atWork).hasSize(2);
    Blas.setThreads(2);
    assertThat(ofAnother.get()).isEqualTo(2);
    assertThat(Blas.threads()).isEqualTo(2);
  }

  @Test
  void takesNoCoresThatOtherProductsHaveUseFor() {
    Blas.setThreads(4, 1);
    Set<Thread> atWork = ConcurrentHashMap.newKeySet();
    AtomicInteger done = new AtomicInteger();
    Blas.forEachTile(
        200,
        tile -> {
          atWork.add(Thread.currentThread());
          done.incrementAndGet();
        });
    assertThat(done.get()).isEqualTo(200);
    assertThat(atWork).containsExactly(Thread.currentThread());
  }

  /** Until both threads are there, if the machine gives two. */
  private static void await(CountDownLatch both) {
    try {
      both.await(1, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Starting, ND4J gives OpenBLAS all cores; a product must not see that. */
  @Test
  void keepsOpenBlasAtOneThreadWhateverNd4jDoes() {
    Blas.setThreads(2);
    try (Matrix one = RandomMatrix.of(1, 2, 2)) {
      assertThat(one.asNDArray().rows()).isEqualTo(2); // starts ND4J, if nothing has
      assertThat(openblas.blas_get_num_threads()).isEqualTo(1);
      assertThat(Blas.threads()).isEqualTo(2);
    }
  }
}
