package ai.owl.spark.pipeline;

import ai.owl.calibration.BlockStatistics;
import ai.owl.tensor.Matrix;
import java.io.Serializable;

/**
 * A slice between two steps: its hidden states, and what was observed on the way.
 *
 * @param slice which sequence
 * @param cols hidden size
 * @param hidden (tokens, cols), row-major; empty once no block is left to run
 * @param statistics of the block observed in the last step; without any if none was
 */
record SliceState(Slice slice, int cols, float[] hidden, BlockStatistics statistics)
    implements Serializable {
  static SliceState of(Slice slice, Matrix hidden, BlockStatistics statistics) {
    return new SliceState(slice, hidden.cols(), hidden.toArray(), statistics);
  }

  /** The hidden states outside the heap, for the kernels; the caller's to close. */
  Matrix matrix() {
    int tokens = slice.ids().length;
    Matrix matrix = new Matrix(tokens, cols);
    for (int t = 0; t < tokens; t++) {
      matrix.copyFrom(t, 0, hidden, t * cols, cols);
    }
    return matrix;
  }
}
