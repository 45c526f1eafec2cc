package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.List;
import java.util.Optional;

/**
 * The weights of a linear layer, (out_features, in_features), held as its products want them.
 * Owned: whoever makes them closes them. Products may be made by several threads at once; {@link
 * #replace} needs them alone.
 */
public sealed interface LinearWeights extends AutoCloseable
    permits MatrixWeights, PackedWeights, SparseWeights, SplitWeights {

  /**
   * Weights for products in some precision.
   *
   * @param weights owned by what is made of them from here on
   * @param parts the numbers of rows of the layers that the weights stand for, in order; of a layer
   *     by itself, all its rows
   */
  static LinearWeights of(Matrix weights, List<Integer> parts, Compute compute) {
    return of(weights, parts, compute, SparseLimit.share());
  }

  /**
   * The same for products with a row or two, as those of a token that follows others: what skipping
   * zeros saves of them, finding the others costs.
   */
  static LinearWeights ofTokens(Matrix weights, List<Integer> parts, Compute compute) {
    return of(weights, parts, compute, SparseLimit.NEVER);
  }

  private static LinearWeights of(
      Matrix weights, List<Integer> parts, Compute compute, double limit) {
    int pieces = compute.piecesOfExact();
    try {
      if (pieces == 0) {
        return SparseWeights.orMatrix(weights, parts, limit);
      }
      if (PackedWeights.holds(weights)) {
        LinearWeights packed = new PackedWeights(weights, parts, pieces);
        weights.close();
        return packed;
      }
      return compute == Compute.BFLOAT16
          ? SplitWeights.of(weights, parts)
          : SparseWeights.orMatrix(weights, parts, limit);
    } catch (RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }

  /**
   * Weights to look at and to change: as they are, however many are zero.
   *
   * @param weights owned by what is made of them from here on
   */
  static LinearWeights of(Matrix weights) {
    return new MatrixWeights(weights, Optional.empty());
  }

  /** out_features. */
  long rows();

  /** in_features. */
  int cols();

  /**
   * The product of the layer without bias: {@code out = x · Wᵀ}, or {@code out += x · Wᵀ}.
   *
   * @param x (rows, in_features)
   * @param out (rows, out_features)
   */
  void multiply(Operand x, boolean accumulate, Matrix out);

  /**
   * One of the layers that the weights stand for; closing it does nothing.
   *
   * @param row the sum of the rows of the parts before it
   */
  LinearWeights part(long row, long rows);

  /** The weights in float32, for reading and for changing before {@link #replace}; to be closed. */
  Matrix matrix();

  /**
   * Takes other weights in. How they are held depends on them alone, not on what was there before.
   *
   * @param changed what {@link #matrix} gave, with other values; not to be used any more, but to be
   *     closed
   * @return what holds the weights from here on, to be closed in place of this
   */
  LinearWeights replace(Matrix changed);

  @Override
  void close();
}
