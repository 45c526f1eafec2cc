package ai.owl.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

/** What a result should be, computed in double precision, with the error each element may have. */
public final class Truth {
  private final int cols;
  private final double[] values;
  private final double[] tolerances;

  public Truth(int rows, int cols) {
    this.cols = cols;
    this.values = new double[rows * cols];
    this.tolerances = new double[rows * cols];
  }

  public void set(int row, int col, double value, double tolerance) {
    values[row * cols + col] = value;
    tolerances[row * cols + col] = tolerance;
  }

  public void holdsFor(Matrix found) {
    holdsFor(found.toArray());
  }

  public void holdsFor(float[] found) {
    assertThat(found).hasSize(values.length);
    for (int i = 0; i < found.length; i++) {
      if (!(Math.abs(found[i] - values[i]) <= tolerances[i])) {
        fail(
            "[%d, %d] is %s, not %s within %s",
            i / cols, i % cols, found[i], values[i], tolerances[i]);
      }
    }
  }
}
