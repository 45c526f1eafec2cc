package ai.owl.spark.pipeline;

import ai.owl.calibration.BlockStatistics;
import ai.owl.tensor.Matrix;
import java.io.Serializable;

/**
 * A sample between two steps: its hidden states, and what was observed on the way. One sample is
 * the unit of work; it is fixed by the data and not by the cluster, so that sums over samples,
 * taken in their order, are the same for any number of partitions.
 *
 * @param index 0-based position in the calibration or evaluation set
 * @param cols hidden size
 * @param hidden (tokens, cols), row-major
 * @param statistics of the block observed in the last step; without any if none was
 */
record SliceState(int index, int cols, float[] hidden, BlockStatistics statistics)
    implements Serializable {
  static SliceState of(int index, Matrix hidden, BlockStatistics statistics) {
    return new SliceState(index, hidden.cols(), hidden.toArray(), statistics);
  }

  /** The hidden states outside the heap, for the kernels; the caller's to close. */
  Matrix matrix() {
    int tokens = hidden.length / cols;
    Matrix matrix = new Matrix(tokens, cols);
    for (int t = 0; t < tokens; t++) {
      matrix.copyFrom(t, 0, hidden, t * cols, cols);
    }
    return matrix;
  }
}
