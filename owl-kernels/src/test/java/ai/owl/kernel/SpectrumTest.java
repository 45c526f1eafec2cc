package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;
import static org.bytedeco.openblas.global.openblas.LAPACKE_dgesvd;
import static org.bytedeco.openblas.global.openblas.LAPACK_ROW_MAJOR;

import ai.owl.tensor.Matrix;
import java.util.Random;
import org.bytedeco.javacpp.DoublePointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SpectrumTest {
  /** Shapes on both sides of the tiles of 512 and the panels of 256. */
  @ParameterizedTest
  @CsvSource({"1, 5", "5, 1", "40, 90", "90, 40", "64, 64", "520, 300", "300, 520", "600, 1100"})
  void agreesWithTheSingularValueDecomposition(int rows, int cols) {
    try (Matrix weight = random(rows, cols)) {
      double[] eigenvalues = Spectrum.of(weight).eigenvalues();
      double[] expected = squaredSingularValues(weight);
      assertThat(eigenvalues).hasSize(Math.min(rows, cols)).isSorted();
      double largest = eigenvalues[eigenvalues.length - 1];
      for (int i = 0; i < eigenvalues.length; i++) {
        assertThat(eigenvalues[i])
            .isCloseTo(expected[expected.length - 1 - i], within(1e-13 * largest));
      }
    }
  }

  @Test
  void doesNotDependOnThreads() {
    int before = Blas.threads();
    try (Matrix wide = random(700, 1300);
        Matrix tall = random(1300, 700)) {
      Blas.setThreads(1);
      Spectrum ofWide = Spectrum.of(wide);
      Spectrum ofTall = Spectrum.of(tall);
      Blas.setThreads(3);
      assertThat(Spectrum.of(wide)).isEqualTo(ofWide);
      assertThat(Spectrum.of(tall)).isEqualTo(ofTall);
    } finally {
      Blas.setThreads(before);
    }
  }

  /** Rounding leaves small negative numbers in the place of zeros. */
  @Test
  void hasNoNegativeSquares() {
    float[][] rows = new float[30][50];
    for (int r = 0; r < rows.length; r++) {
      for (int j = 0; j < 50; j++) {
        rows[r][j] = (r + 1) * (0.1f + 0.01f * j); // of rank one
      }
    }
    try (Matrix weight = Matrix.of(rows)) {
      double[] eigenvalues = Spectrum.of(weight).eigenvalues();
      assertThat(eigenvalues).isSorted();
      assertThat(eigenvalues[0]).isNotNegative();
      assertThat(eigenvalues[28]).isLessThan(1e-9 * eigenvalues[29]);
    }
  }

  @Test
  void sortsWhatIsKnown() {
    assertThat(Spectrum.ofEigenvalues(3, 1, 2).eigenvalues()).containsExactly(1, 2, 3);
    assertThatIllegalArgumentException().isThrownBy(() -> Spectrum.ofEigenvalues(1, -1));
    assertThatIllegalArgumentException().isThrownBy(() -> Spectrum.ofEigenvalues(1, Double.NaN));
  }

  private static Matrix random(int rows, int cols) {
    Random random = new Random(31L * rows + cols);
    float[][] values = new float[rows][cols];
    for (float[] row : values) {
      for (int j = 0; j < cols; j++) {
        row[j] = (float) (random.nextGaussian() * Math.exp(random.nextGaussian()));
      }
    }
    return Matrix.of(values);
  }

  private static double[] squaredSingularValues(Matrix weight) {
    int rows = (int) weight.rows();
    int cols = weight.cols();
    int rank = Math.min(rows, cols);
    float[] values = weight.toArray();
    double[] wide = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      wide[i] = values[i];
    }
    double[] singular = new double[rank];
    try (DoublePointer a = new DoublePointer(wide);
        DoublePointer s = new DoublePointer((long) rank);
        DoublePointer none = new DoublePointer(1L);
        DoublePointer rest = new DoublePointer((long) rank)) {
      int info =
          LAPACKE_dgesvd(
              LAPACK_ROW_MAJOR,
              (byte) 'N',
              (byte) 'N',
              rows,
              cols,
              a,
              cols,
              s,
              none,
              rows,
              none,
              cols,
              rest);
      assertThat(info).isZero();
      s.get(singular);
    }
    for (int i = 0; i < rank; i++) {
      singular[i] *= singular[i];
    }
    return singular;
  }
}
