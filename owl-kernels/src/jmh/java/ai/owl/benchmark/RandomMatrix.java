package ai.owl.benchmark;

import ai.owl.tensor.Matrix;
import java.util.SplittableRandom;
import java.util.stream.LongStream;

/** Input of the benchmarks: normally distributed, and the same in every run. */
final class RandomMatrix {
  private RandomMatrix() {}

  /** A matrix of independent elements with mean 0; the caller's to close. */
  static Matrix normal(long rows, int cols, double deviation, long seed) {
    Matrix matrix = new Matrix(rows, cols);
    LongStream.range(0, rows)
        .parallel()
        .forEach(
            r -> {
              SplittableRandom random = new SplittableRandom(seed << 32 | r);
              float[] row = new float[cols];
              for (int j = 0; j < cols; j++) {
                row[j] = (float) (deviation * random.nextGaussian());
              }
              matrix.setRow(r, row);
            });
    return matrix;
  }

  /** Norms of input features: positive, and some much larger than others, as in real models. */
  static float[] norms(int features, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    float[] norms = new float[features];
    for (int j = 0; j < features; j++) {
      norms[j] = (float) Math.exp(0.8 * random.nextGaussian());
    }
    return norms;
  }
}
