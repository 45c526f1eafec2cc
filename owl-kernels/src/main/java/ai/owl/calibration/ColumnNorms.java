package ai.owl.calibration;

import ai.owl.kernel.ColumnSquares;
import ai.owl.tensor.Matrix;

/**
 * The squared norms of the input features, {@code Σ_t x_tj²} over all calibration tokens, in
 * float64. The published code divides by the number of sequences (Wanda's {@code scaler_row}); that
 * factor is common to all features of all layers and cancels wherever the norms are compared, so
 * the plain sum is kept.
 */
public final class ColumnNorms implements ActivationStatistics {
  private static final long serialVersionUID = 1;

  private final double[] sumsOfSquares; // (in_features)

  public ColumnNorms(int features) {
    this(new double[features]);
  }

  /** Norms with these sums of squares. */
  public ColumnNorms(double[] sumsOfSquares) {
    this.sumsOfSquares = sumsOfSquares;
  }

  @Override
  public void add(Matrix x) {
    ColumnSquares.add(x, sumsOfSquares);
  }

  public void merge(ColumnNorms other) {
    if (other.sumsOfSquares.length != sumsOfSquares.length) {
      throw new IllegalArgumentException(
          "Cannot merge norms of "
              + other.sumsOfSquares.length
              + " features into those of "
              + sumsOfSquares.length);
    }
    for (int j = 0; j < sumsOfSquares.length; j++) {
      sumsOfSquares[j] += other.sumsOfSquares[j];
    }
  }

  /** The sums of squares themselves, (in_features); not a copy. */
  public double[] sumsOfSquares() {
    return sumsOfSquares;
  }

  /** {@code ‖x_j‖₂} of every feature, rounded to float32 as the published code rounds. */
  public float[] norms() {
    float[] norms = new float[sumsOfSquares.length];
    for (int j = 0; j < norms.length; j++) {
      norms[j] = (float) Math.sqrt((float) sumsOfSquares[j]);
    }
    return norms;
  }
}
