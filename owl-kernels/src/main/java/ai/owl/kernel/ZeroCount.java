package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/** Counts zeros. */
public final class ZeroCount {
  private ZeroCount() {}

  /** How many elements are zero, of either sign. */
  public static long of(Matrix matrix) {
    float[] row = new float[matrix.cols()];
    long zeros = 0;
    for (long r = 0; r < matrix.rows(); r++) {
      matrix.row(r, row);
      int inRow = 0;
      for (float value : row) {
        inRow += value == 0f ? 1 : 0;
      }
      zeros += inRow;
    }
    return zeros;
  }
}
