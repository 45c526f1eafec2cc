package ai.owl.benchmark;

import ai.owl.kernel.Blas;
import ai.owl.kernel.ErrorCompensation;
import ai.owl.kernel.InverseCholesky;
import ai.owl.kernel.InverseCholesky.NotPositiveDefiniteException;
import ai.owl.tensor.Matrix;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** SparseGPT's three steps, on a layer of attention: Gram matrix, factor, sweep. */
public class SparseGptBenchmark {
  private static final double SPARSITY = 0.7;
  private static final int BLOCK_COLUMNS = 128;

  /** {@code scale · gram}, as the solver makes its Hessian of it. */
  private static final double SCALE = 2;

  /** Hidden states and the products of their features. */
  @State(Scope.Benchmark)
  public static class Products {
    @Param public ModelShape shape;
    private Matrix x;
    private Matrix gram;

    @Setup
    public void prepare() {
      x = RandomMatrix.normal(shape.tokens, shape.hidden, 1, 1);
      gram = zeros(shape.hidden);
      Machine.announce();
      Blas.addGram(x, gram);
      for (int i : Expected.sample(shape.hidden)) {
        for (int j : Expected.sample(shape.hidden)) {
          if (i <= j) {
            Expected.Dot dot = Expected.Dot.of(Expected.column(x, i), Expected.column(x, j));
            Expected.close(
                "gram(" + i + ", " + j + ")",
                dot.sum(),
                Expected.element(gram, i, j),
                2e-6 * dot.magnitude());
          }
        }
      }
    }

    @TearDown
    public void close() {
      x.close();
      gram.close();
    }
  }

  private static Matrix zeros(int n) {
    Matrix matrix = new Matrix(n, n);
    float[] row = new float[n];
    for (int r = 0; r < n; r++) {
      matrix.setRow(r, row);
    }
    return matrix;
  }

  /** Counts the products of a triangle, the half that nobody needs left out. */
  @Benchmark
  public void gram(Products state, Flops done) {
    Blas.addGram(state.x, state.gram);
    done.flops += (double) state.x.rows() * state.x.cols() * (state.x.cols() + 1);
  }

  /** A layer and its factor. */
  @State(Scope.Benchmark)
  public static class Solve {
    @Param public ModelShape shape;
    private Matrix gram;
    private double[] diagonal;
    private Matrix upper;
    private Matrix original;
    private Matrix weight;

    @Setup
    public void prepare() throws NotPositiveDefiniteException {
      int n = shape.hidden;
      gram = zeros(n);
      try (Matrix x = RandomMatrix.normal(shape.tokens, n, 1, 1)) {
        Blas.addGram(x, gram);
      }
      // One percent of its mean on the diagonal, as published: fewer tokens than features here.
      diagonal = new double[n];
      for (int j = 0; j < n; j++) {
        diagonal[j] = SCALE * Expected.element(gram, j, j);
      }
      double mean = Arrays.stream(diagonal).average().orElseThrow();
      Arrays.setAll(diagonal, j -> diagonal[j] + 0.01 * mean);
      original = RandomMatrix.normal(n, n, 0.02, 2);
      weight = new Matrix(n, n);
      Machine.announce();
      upper = InverseCholesky.upperFactor(gram, SCALE, diagonal);
      checkFactor();
      refill();
      ErrorCompensation.prune(weight, upper, SPARSITY, BLOCK_COLUMNS);
      checkSweep();
    }

    /** {@code UᵀU·(H·v) = v} for a random v. */
    private void checkFactor() {
      int n = shape.hidden;
      SplittableRandom random = new SplittableRandom(3);
      double[] v = random.doubles(n, -1, 1).toArray();
      double[] hv = new double[n];
      for (int i = 0; i < n; i++) {
        float[] row = Expected.row(gram, i);
        hv[i] += diagonal[i] * v[i];
        for (int j = i + 1; j < n; j++) {
          hv[i] += SCALE * row[j] * v[j];
          hv[j] += SCALE * row[j] * v[i];
        }
      }
      double[] back = new double[n];
      for (int i = 0; i < n; i++) {
        float[] row = Expected.row(upper, i);
        double sum = 0;
        for (int j = i; j < n; j++) {
          sum += row[j] * hv[j];
        }
        for (int j = i; j < n; j++) {
          back[j] += row[j] * sum;
        }
      }
      for (int j = 0; j < n; j++) {
        Expected.close("(UᵀU·H·v)(" + j + ")", v[j], back[j], 1e-3);
      }
    }

    /**
     * Sampled rows, whose sweep does not depend on the others once it is known what goes; what goes
     * has to score lower than what stays, and to be as much as asked.
     */
    private void checkSweep() {
      int n = shape.hidden;
      int width = Math.min(BLOCK_COLUMNS, n);
      long[] zeros = new long[n];
      for (int r = 0; r < n; r++) {
        float[] row = Expected.row(weight, r);
        for (int j = 0; j < n; j++) {
          zeros[j] += row[j] == 0 ? 1 : 0;
        }
      }
      for (int first = 0; first < n; first += width) {
        int end = Math.min(n, first + width);
        double share =
            IntStream.range(first, end).mapToLong(j -> zeros[j]).sum()
                / ((end - first) * (double) n);
        Expected.close(
            "the share removed from column " + first + " on",
            SPARSITY,
            share,
            1e-4 + 2.0 / n / width);
      }
      double[] highestGone = new double[n / width + 1];
      double[] lowestKept = new double[n / width + 1];
      Arrays.fill(lowestKept, Double.POSITIVE_INFINITY);
      float[][] u = rows(upper);
      for (int r : Expected.sample(n)) {
        float[] pruned = Expected.row(weight, r);
        double[] row = new double[n];
        float[] start = Expected.row(original, r);
        Arrays.setAll(row, j -> start[j]);
        for (int first = 0; first < n; first += width) {
          int end = Math.min(n, first + width);
          for (int j = first; j < end; j++) {
            double score = row[j] * row[j] / ((double) u[j][j] * u[j][j]);
            if (pruned[j] == 0) {
              highestGone[first / width] = Math.max(highestGone[first / width], score);
            } else {
              lowestKept[first / width] = Math.min(lowestKept[first / width], score);
            }
          }
          for (int i = first; i < end; i++) {
            if (pruned[i] == 0) {
              double error = row[i] / u[i][i];
              for (int j = i; j < n; j++) {
                row[j] -= error * u[i][j];
              }
            }
          }
        }
        for (int j = 0; j < n; j++) {
          double kept = pruned[j] == 0 ? 0 : row[j];
          Expected.close("swept weight " + r + ", " + j, kept, pruned[j], 1e-5);
        }
      }
      for (int b = 0; b < n / width; b++) {
        if (highestGone[b] > lowestKept[b] * 1.001) {
          throw new IllegalStateException(
              "in block " + b + " " + highestGone[b] + " went and " + lowestKept[b] + " stayed");
        }
      }
    }

    private static float[][] rows(Matrix matrix) {
      return IntStream.range(0, (int) matrix.rows())
          .mapToObj(r -> Expected.row(matrix, r))
          .toArray(float[][]::new);
    }

    /** Only the sweep changes it. */
    @Setup(Level.Invocation)
    public void refill() {
      weight.set(original);
    }

    @TearDown
    public void close() {
      for (Matrix matrix : new Matrix[] {gram, upper, original, weight}) {
        matrix.close();
      }
    }
  }

  /** Counts a factorization and a triangular inverse, in float64: {@code 2/3 · n³}. */
  @Benchmark
  public void inverseCholesky(Solve state, Flops done) throws NotPositiveDefiniteException {
    InverseCholesky.upperFactor(state.gram, SCALE, state.diagonal).close();
    done.flops += 2.0 / 3 * Math.pow(state.shape.hidden, 3);
  }

  /** Counts the compensation of all columns behind: {@code rows · n²}. */
  @Benchmark
  public void sweep(Solve state, Flops done) {
    ErrorCompensation.prune(state.weight, state.upper, SPARSITY, BLOCK_COLUMNS);
    done.flops += Math.pow(state.shape.hidden, 3);
  }
}
