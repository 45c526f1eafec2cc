package ai.owl.kernel;

import ai.owl.tensor.Bfloat16;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Weights that bfloat16 does not hold, as sums of two that it does: the nearest one, and the
 * nearest one to what that leaves. They hold float16's 11 bits exactly, and of float32's 24 the 16
 * that count beside activations of 8. Rounding weights to 8 bits would not do: its errors are the
 * same for every token, and do not average out as those of activations.
 *
 * @param high the nearest ones
 * @param low the nearest ones to what is left
 * @param kept the weights themselves, which are pruned and written, where the two do not hold them
 *     exactly, and in no part of them
 */
record SplitWeights(PackedWeights high, PackedWeights low, Optional<Matrix> kept)
    implements LinearWeights {

  /**
   * Splits weights.
   *
   * @param weights owned by what is made of them from here on
   * @param parts numbers of rows
   */
  static SplitWeights of(Matrix weights, List<Integer> parts) {
    try (Matrix rest = new Matrix(weights.rows(), weights.cols())) {
      boolean exact = subtractNearest(weights, rest);
      PackedWeights high = new PackedWeights(weights, parts, 1);
      try {
        PackedWeights low = new PackedWeights(rest, parts, 1);
        if (exact) {
          weights.close();
        }
        return new SplitWeights(high, low, exact ? Optional.empty() : Optional.of(weights));
      } catch (RuntimeException | Error e) {
        high.close();
        throw e;
      }
    }
  }

  /** What the nearest bfloat16 leave of weights; returns whether bfloat16 holds that. */
  private static boolean subtractNearest(Matrix weights, Matrix rest) {
    AtomicBoolean normal = new AtomicBoolean(true);
    RowChunks.forEach(
        weights,
        (chunk, from, to) -> {
          float[] row = new float[weights.cols()];
          float[] nearest = new float[row.length];
          byte[] rounded = new byte[row.length * Short.BYTES];
          for (long r = from; r < to; r++) {
            weights.row(r, row);
            Bfloat16.round(row, row.length, rounded);
            DType.BF16.widen(rounded, 0, nearest, nearest.length);
            for (int j = 0; j < row.length; j++) {
              if (row[j] != 0 && Math.abs(row[j]) < Float.MIN_NORMAL) {
                normal.set(false);
              }
              row[j] -= nearest[j];
            }
            rest.setRow(r, row);
          }
        });
    return normal.get() && PackedWeights.holds(rest);
  }

  @Override
  public long rows() {
    return high.rows();
  }

  @Override
  public int cols() {
    return high.cols();
  }

  @Override
  public void multiply(Operand x, boolean accumulate, Matrix out) {
    low.multiply(x, accumulate, out);
    high.multiply(x, true, out);
  }

  @Override
  public LinearWeights part(long row, long count) {
    return new SplitWeights(high.part(row, count), low.part(row, count), Optional.empty());
  }

  @Override
  public Matrix matrix() {
    if (kept.isPresent()) {
      return kept.get().rows(0, kept.get().rows());
    }
    Matrix sum = high.matrix();
    try (Matrix rest = low.matrix()) {
      RowChunks.forEach(
          sum,
          (chunk, from, to) -> {
            float[] row = new float[sum.cols()];
            float[] left = new float[row.length];
            for (long r = from; r < to; r++) {
              sum.row(r, row);
              rest.row(r, left);
              for (int j = 0; j < row.length; j++) {
                // −0 + 0 would be +0, and a weight of −0 is to be written as it was read.
                row[j] = left[j] == 0 ? row[j] : row[j] + left[j];
              }
              sum.setRow(r, row);
            }
          });
    }
    return sum;
  }

  @Override
  public LinearWeights replace(Matrix changed) {
    high.replace(changed);
    try (Matrix rest = new Matrix(changed.rows(), changed.cols())) {
      subtractNearest(changed, rest);
      low.replace(rest);
    }
    return this;
  }

  @Override
  public void close() {
    kept.ifPresent(Matrix::close);
    high.close();
    low.close();
  }
}
