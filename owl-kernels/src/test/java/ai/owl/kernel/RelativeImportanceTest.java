package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import org.junit.jupiter.api.Test;

class RelativeImportanceTest {
  @Test
  void measuresAgainstRowAndColumn() {
    int rows = 130;
    int cols = 31;
    float[] norms = RandomMatrix.norms(2, cols);
    try (Matrix weight = RandomMatrix.of(1, rows, cols)) {
      float[] w = weight.toArray();
      WeightScores scores = RelativeImportance.of(weight, norms, 0.5);
      float[] row = new float[cols];
      float[] found = new float[cols];
      for (int r = 0; r < rows; r++) {
        weight.row(r, row);
        scores.of(r, row, found);
        for (int j = 0; j < cols; j++) {
          double inRow = 0;
          double inColumn = 0;
          for (int i = 0; i < cols; i++) {
            inRow += Math.abs(w[r * cols + i]);
          }
          for (int i = 0; i < rows; i++) {
            inColumn += Math.abs(w[i * cols + j]);
          }
          double magnitude = Math.abs(w[r * cols + j]);
          double expected = (magnitude / inColumn + magnitude / inRow) * Math.sqrt(norms[j]);
          assertThat((double) found[j]).isCloseTo(expected, within(1e-6 * expected));
        }
      }
    }
  }

  @Test
  void aRowOrColumnOfZerosIsWorthNothing() {
    try (Matrix weight = Matrix.of(new float[][] {{0, 0}, {0, 3}})) {
      WeightScores scores = RelativeImportance.of(weight, new float[] {1, 1}, 0.5);
      float[] found = new float[2];
      scores.of(0, new float[] {0, 0}, found);
      assertThat(found).containsExactly(0, 0);
      scores.of(1, new float[] {0, 3}, found);
      assertThat(found).containsExactly(0, 2);
    }
  }
}
