package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.tensor.Matrix;
import org.junit.jupiter.api.Test;

class ColumnNormsTest {
  @Test
  void addsUpSquares() {
    ColumnNorms norms = new ColumnNorms(3);
    try (Matrix x = Matrix.of(new float[][] {{3f, -1f, 0f}, {4f, 2f, 0f}})) {
      norms.add(x);
      norms.add(x);
    }
    assertThat(norms.sumsOfSquares()).containsExactly(50, 10, 0);
    assertThat(norms.norms()).containsExactly((float) Math.sqrt(50), (float) Math.sqrt(10), 0f);
  }

  @Test
  void mergesByAddition() {
    ColumnNorms norms = new ColumnNorms(new double[] {1, 2});
    ColumnNorms other = new ColumnNorms(new double[] {10, 20});
    norms.merge(other);
    assertThat(norms.sumsOfSquares()).containsExactly(11, 22);
    assertThat(other.sumsOfSquares()).containsExactly(10, 20);
  }

  @Test
  void takesTheRootInFloat32() {
    double sum = 2 + 1e-9; // lost in float32
    assertThat(new ColumnNorms(new double[] {sum, 1e30, 1e-50}).norms())
        .containsExactly((float) Math.sqrt(2f), (float) Math.sqrt(1e30f), 0f);
  }
}
