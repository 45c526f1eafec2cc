package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.concurrent.atomic.LongAdder;

/** Counts zeros. */
public final class ZeroCount {
  private ZeroCount() {}

  /** How many elements are zero, of either sign. */
  public static long of(Matrix matrix) {
    LongAdder zeros = new LongAdder();
    RowChunks.forEach(
        matrix,
        (chunk, from, to) -> {
          float[] row = new float[matrix.cols()];
          long inChunk = 0;
          for (long r = from; r < to; r++) {
            matrix.row(r, row);
            inChunk += RowCode.selection().zeros(row, 0, row.length);
          }
          zeros.add(inChunk);
        });
    return zeros.sum();
  }
}
