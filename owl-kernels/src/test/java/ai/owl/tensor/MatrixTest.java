package ai.owl.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class MatrixTest {
  @Test
  void sharesItsRowsWithAViewOfThem() {
    try (Matrix matrix = RandomMatrix.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8}, 4, 2)) {
      Matrix middle = matrix.rows(1, 2);
      assertThat(middle.shape()).isEqualTo("2 x 2");
      assertThat(middle.toArray()).containsExactly(3, 4, 5, 6);
      assertThat(middle.pointer(1, 1).get()).isEqualTo(6);
      middle.setRow(1, new float[] {50, 60});
      matrix.setRow(1, new float[] {30, 40});
      assertThat(matrix.toArray()).containsExactly(1, 2, 30, 40, 50, 60, 7, 8);
      assertThat(middle.toArray()).containsExactly(30, 40, 50, 60);
      assertThat(middle.rows(1, 1).toArray()).containsExactly(50, 60);
      middle.close();
      assertThat(matrix.toArray()).containsExactly(1, 2, 30, 40, 50, 60, 7, 8);
      assertThat(matrix.rows(4, 0).rows()).isZero();
    }
  }

  @Test
  void refusesRowsThatItDoesNotHave() {
    try (Matrix matrix = new Matrix(4, 2)) {
      for (long[] range : new long[][] {{-1, 2}, {0, 5}, {3, 2}, {1, -1}, {5, 0}}) {
        assertThatThrownBy(() -> matrix.rows(range[0], range[1]))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage(
                "Cannot take %d rows from row %d on of a matrix of 4 x 2", range[1], range[0]);
      }
    }
  }
}
