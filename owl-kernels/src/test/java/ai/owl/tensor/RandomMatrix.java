package ai.owl.tensor;

import java.util.Arrays;
import java.util.Random;

/** Matrices of normally distributed numbers; the same seed gives the same. */
public final class RandomMatrix {
  private RandomMatrix() {}

  public static Matrix of(long seed, long rows, int cols) {
    Matrix matrix = new Matrix(rows, cols);
    Random random = new Random(seed);
    float[] row = new float[cols];
    for (long r = 0; r < rows; r++) {
      fill(random, row);
      matrix.setRow(r, row);
    }
    return matrix;
  }

  public static float[] vector(long seed, int size) {
    float[] vector = new float[size];
    fill(new Random(seed), vector);
    return vector;
  }

  /** A vector without negative numbers, such as norms. */
  public static float[] norms(long seed, int size) {
    float[] norms = vector(seed, size);
    for (int j = 0; j < size; j++) {
      norms[j] = Math.abs(norms[j]);
    }
    return norms;
  }

  /** A matrix of one number, such as NaN where a result must not depend on what was there. */
  public static Matrix filled(float value, long rows, int cols) {
    Matrix matrix = new Matrix(rows, cols);
    float[] row = new float[cols];
    Arrays.fill(row, value);
    for (long r = 0; r < rows; r++) {
      matrix.setRow(r, row);
    }
    return matrix;
  }

  /** A matrix with these elements, row by row. */
  public static Matrix of(float[] values, int rows, int cols) {
    Matrix matrix = new Matrix(rows, cols);
    for (int r = 0; r < rows; r++) {
      matrix.copyFrom(r, 0, values, r * cols, cols);
    }
    return matrix;
  }

  private static void fill(Random random, float[] row) {
    for (int j = 0; j < row.length; j++) {
      row[j] = (float) random.nextGaussian();
    }
  }
}
