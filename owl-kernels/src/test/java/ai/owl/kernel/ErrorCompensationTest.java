package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.kernel.InverseCholesky.NotPositiveDefiniteException;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ErrorCompensationTest {
  private final int threads = Blas.threads();

  @AfterEach
  void giveThreadsBack() {
    Blas.setThreads(threads);
  }

  /** Against the published loop, column by column in float64. */
  @ParameterizedTest
  @CsvSource({
    "1, 1, 0.5, 128",
    "5, 31, 0.5, 128",
    "70, 130, 0.7, 128",
    "130, 300, 0.6, 128",
    "9, 40, 0.3, 16"
  })
  void prunesAsThePublishedLoop(int rows, int cols, double sparsity, int block)
      throws NotPositiveDefiniteException {
    try (Matrix weight = RandomMatrix.of(1, rows, cols);
        Matrix upper = upper(cols)) {
      double[][] expected = published(weight, upper, sparsity, 0, 0, block);
      ErrorCompensation.prune(weight, upper, sparsity, block);
      assertClose(weight, expected);
    }
  }

  @ParameterizedTest
  @CsvSource({"70, 128, 2, 4, 128", "70, 136, 1, 4, 128", "3, 40, 7, 8, 16", "9, 40, 1, 2, 8"})
  void prunesGroupsAsThePublishedLoop(int rows, int cols, int kept, int of, int block)
      throws NotPositiveDefiniteException {
    try (Matrix weight = RandomMatrix.of(1, rows, cols);
        Matrix upper = upper(cols)) {
      double[][] expected = published(weight, upper, 0, kept, of, block);
      ErrorCompensation.prune(weight, upper, kept, of, block);
      assertClose(weight, expected);
      float[] row = new float[cols];
      for (int r = 0; r < rows; r++) {
        weight.row(r, row);
        for (int first = 0; first < cols; first += of) {
          int zeros = 0;
          for (int j = first; j < first + of; j++) {
            zeros += row[j] == 0 ? 1 : 0;
          }
          assertThat(zeros).isEqualTo(of - kept);
        }
      }
    }
  }

  /** What it is for: the layer's output stays closer than with the same weights just removed. */
  @Test
  void leavesTheOutputCloserThanRemovalAlone() throws NotPositiveDefiniteException {
    int cols = 200;
    try (Matrix weight = RandomMatrix.of(1, 60, cols);
        Matrix upper = upper(cols);
        Matrix x = RandomMatrix.of(5, 2 * cols, cols)) {
      float[] before = weight.toArray();
      ErrorCompensation.prune(weight, upper, 0.5, 128);
      float[] masked = before.clone();
      float[] after = weight.toArray();
      for (int i = 0; i < masked.length; i++) {
        masked[i] = after[i] == 0 ? 0 : masked[i];
      }
      assertThat(outputError(before, after, x)).isLessThan(0.9 * outputError(before, masked, x));
    }
  }

  @Test
  void removesNothingAtSparsityZero() throws NotPositiveDefiniteException {
    try (Matrix weight = RandomMatrix.of(1, 5, 40);
        Matrix upper = upper(40)) {
      float[] before = weight.toArray();
      ErrorCompensation.prune(weight, upper, 0, 128);
      assertThat(weight.toArray()).isEqualTo(before);
    }
  }

  @Test
  void doesNotDependOnTheNumberOfThreads() throws NotPositiveDefiniteException {
    try (Matrix upper = upper(700)) {
      float[][] results = new float[2][];
      for (int i = 0; i < 2; i++) {
        Blas.setThreads(1 + 4 * i);
        try (Matrix weight = RandomMatrix.of(1, 1100, 700)) {
          ErrorCompensation.prune(weight, upper, 0.7, 128);
          results[i] = weight.toArray();
        }
      }
      assertThat(results[0]).isEqualTo(results[1]);
    }
  }

  private static Matrix upper(int features) throws NotPositiveDefiniteException {
    try (Matrix gram = RandomMatrix.filled(0, features, features);
        Matrix x = RandomMatrix.of(5, 2 * features, features)) {
      Blas.addGram(x, gram);
      double[] diagonal = new double[features];
      float[] row = new float[features];
      for (int i = 0; i < features; i++) {
        gram.row(i, row);
        diagonal[i] = 1.01 * row[i];
      }
      return InverseCholesky.upperFactor(gram, 1, diagonal);
    }
  }

  private static double[][] published(
      Matrix weight, Matrix upper, double sparsity, int kept, int of, int block) {
    int rows = (int) weight.rows();
    int cols = weight.cols();
    double[][] w = new double[rows][cols];
    float[] row = new float[cols];
    for (int r = 0; r < rows; r++) {
      weight.row(r, row);
      for (int j = 0; j < cols; j++) {
        w[r][j] = row[j];
      }
    }
    double[][] u = new double[cols][cols];
    for (int i = 0; i < cols; i++) {
      upper.row(i, row);
      for (int j = i; j < cols; j++) {
        u[i][j] = row[j];
      }
    }
    for (int first = 0; first < cols; first += block) {
      int last = Math.min(cols, first + block);
      double threshold = Double.NEGATIVE_INFINITY;
      if (of == 0) {
        double[] scores = new double[rows * (last - first)];
        for (int r = 0, at = 0; r < rows; r++) {
          for (int j = first; j < last; j++) {
            scores[at++] = Math.pow(w[r][j] / u[j][j], 2);
          }
        }
        Arrays.sort(scores);
        threshold = scores[(int) (scores.length * sparsity)];
      }
      boolean[][] mask = new boolean[rows][cols];
      for (int r = 0; r < rows; r++) {
        for (int j = first; j < last && of == 0; j++) {
          mask[r][j] = Math.pow(w[r][j] / u[j][j], 2) <= threshold;
        }
      }
      for (int i = first; i < last; i++) {
        for (int r = 0; r < rows; r++) {
          if (of > 0 && i % of == 0) {
            double[] current = w[r];
            boolean[] goes = mask[r];
            IntStream.range(i, i + of)
                .boxed()
                .sorted(
                    java.util.Comparator.comparingDouble(j -> Math.pow(current[j] / u[j][j], 2)))
                .limit(of - kept)
                .forEach(j -> goes[j] = true);
          }
          if (mask[r][i]) {
            double error = w[r][i] / u[i][i];
            for (int j = i; j < cols; j++) { // behind the block too: the same sum in other order
              w[r][j] -= error * u[i][j];
            }
            w[r][i] = 0;
          }
        }
      }
    }
    return w;
  }

  private static void assertClose(Matrix weight, double[][] expected) {
    float[] row = new float[weight.cols()];
    for (int r = 0; r < expected.length; r++) {
      weight.row(r, row);
      for (int j = 0; j < row.length; j++) {
        assertThat(row[j] == 0).as("(%d, %d) is zero", r, j).isEqualTo(expected[r][j] == 0);
        assertThat((double) row[j]).as("(%d, %d)", r, j).isCloseTo(expected[r][j], within(2e-4));
      }
    }
  }

  private static double outputError(float[] before, float[] after, Matrix x) {
    int cols = x.cols();
    float[] row = new float[cols];
    double error = 0;
    for (long t = 0; t < x.rows(); t++) {
      x.row(t, row);
      for (int begin = 0; begin < before.length; begin += cols) {
        double difference = 0;
        for (int j = 0; j < cols; j++) {
          difference += (double) row[j] * (before[begin + j] - after[begin + j]);
        }
        error += difference * difference;
      }
    }
    return error;
  }
}
