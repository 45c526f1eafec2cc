package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import ai.owl.kernel.InverseCholesky.NotPositiveDefiniteException;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class InverseCholeskyTest {
  private final int threads = Blas.threads();

  @AfterEach
  void giveThreadsBack() {
    Blas.setThreads(threads);
  }

  /** {@code U·H·Uᵀ = I} and U upper triangular with a positive diagonal: U is the factor. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 7, 31, 207, 256, 257, 600})
  void factorsTheInverse(int n) throws NotPositiveDefiniteException {
    double scale = 0.25;
    try (Matrix gram = gram(n, 2 * n)) {
      double[][] h = hessian(gram, scale);
      double[] diagonal = new double[n];
      for (int i = 0; i < n; i++) {
        h[i][i] += 0.5;
        diagonal[i] = h[i][i];
      }
      try (Matrix upper = InverseCholesky.upperFactor(gram, scale, diagonal)) {
        double[][] u = upperTriangle(upper);
        double[][] product = times(times(u, h), transposed(u));
        for (int i = 0; i < n; i++) {
          assertThat(u[i][i]).isPositive();
          for (int j = 0; j < n; j++) {
            assertThat(product[i][j])
                .as("(%d, %d)", i, j)
                .isCloseTo(i == j ? 1 : 0, within(1e-5)); // float32 in, float32 out
          }
        }
      }
    }
  }

  @Test
  void knowsTheFactorOfASmallMatrix() throws NotPositiveDefiniteException {
    // H⁻¹ = [[2, 1], [1, 1]] = UᵀU with U = [[√2, 1/√2], [0, 1/√2]]
    try (Matrix gram = Matrix.of(new float[][] {{9, -1}, {9, 9}});
        Matrix upper = InverseCholesky.upperFactor(gram, 1, new double[] {1, 2})) {
      double[][] u = upperTriangle(upper);
      assertThat(u[0][0]).isCloseTo(Math.sqrt(2), within(1e-7));
      assertThat(u[0][1]).isCloseTo(Math.sqrt(0.5), within(1e-7));
      assertThat(u[1][1]).isCloseTo(Math.sqrt(0.5), within(1e-7));
    }
  }

  @Test
  void doesNotDependOnTheNumberOfThreads() throws NotPositiveDefiniteException {
    int n = 700;
    try (Matrix gram = gram(n, 2 * n)) {
      double[] diagonal = diagonal(gram);
      Blas.setThreads(1);
      try (Matrix one = InverseCholesky.upperFactor(gram, 1, diagonal)) {
        Blas.setThreads(5);
        try (Matrix five = InverseCholesky.upperFactor(gram, 1, diagonal)) {
          for (int i = 0; i < n; i++) {
            float[] a = new float[n - i];
            float[] b = new float[n - i];
            one.copyTo(i, i, a, 0, n - i);
            five.copyTo(i, i, b, 0, n - i);
            assertThat(a).isEqualTo(b);
          }
        }
      }
    }
  }

  /** With fewer sequences than features, and nothing on the diagonal, there is no inverse. */
  @ParameterizedTest
  @ValueSource(ints = {40, 300})
  void saysAtWhichColumnItCouldNotGoOn(int n) {
    try (Matrix gram = gram(n, n / 2)) {
      double[] diagonal = diagonal(gram);
      for (int j = 0; j < n; j++) {
        diagonal[j] *= 1 - 1e-6; // rounding alone may leave a singular matrix positive
      }
      assertThatExceptionOfType(NotPositiveDefiniteException.class)
          .isThrownBy(() -> InverseCholesky.upperFactor(gram, 1, diagonal))
          // The last n/2 columns are independent.
          .satisfies(e -> assertThat(e.column()).isBetween(n / 2 - 2, n / 2))
          .withMessageStartingWith("not positive definite at column ");
    }
  }

  private static Matrix gram(int features, int tokens) {
    Matrix gram = RandomMatrix.filled(0, features, features);
    try (Matrix x = RandomMatrix.of(5, tokens, features)) {
      Blas.addGram(x, gram);
    }
    return gram;
  }

  private static double[] diagonal(Matrix gram) {
    double[] diagonal = new double[gram.cols()];
    float[] row = new float[gram.cols()];
    for (int i = 0; i < diagonal.length; i++) {
      gram.row(i, row);
      diagonal[i] = row[i];
    }
    return diagonal;
  }

  private static double[][] hessian(Matrix gram, double scale) {
    double[][] upper = upperTriangle(gram);
    for (int i = 0; i < upper.length; i++) {
      for (int j = i; j < upper.length; j++) {
        upper[i][j] *= scale;
        upper[j][i] = upper[i][j];
      }
    }
    return upper;
  }

  private static double[][] upperTriangle(Matrix matrix) {
    int n = matrix.cols();
    double[][] upper = new double[n][n];
    float[] row = new float[n];
    for (int i = 0; i < n; i++) {
      matrix.row(i, row);
      for (int j = i; j < n; j++) {
        upper[i][j] = row[j];
      }
    }
    return upper;
  }

  private static double[][] transposed(double[][] a) {
    double[][] b = new double[a.length][a.length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < a.length; j++) {
        b[j][i] = a[i][j];
      }
    }
    return b;
  }

  private static double[][] times(double[][] a, double[][] b) {
    int n = a.length;
    double[][] c = new double[n][n];
    for (int i = 0; i < n; i++) {
      for (int k = 0; k < n; k++) {
        double factor = a[i][k];
        for (int j = 0; j < n; j++) {
          c[i][j] += factor * b[k][j];
        }
      }
    }
    return c;
  }
}
