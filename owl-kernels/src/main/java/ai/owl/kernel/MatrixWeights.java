package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.List;
import java.util.Optional;

/**
 * Float32 weights, multiplied by OpenBLAS.
 *
 * @param parts numbers of rows, of weights that may be held otherwise once most of them are zero;
 *     of others, and of parts themselves, none
 */
record MatrixWeights(Matrix weights, Optional<List<Integer>> parts) implements LinearWeights {
  @Override
  public long rows() {
    return weights.rows();
  }

  @Override
  public int cols() {
    return weights.cols();
  }

  @Override
  public void multiply(Operand x, boolean accumulate, Matrix out) {
    Blas.linear(x.x(), weights, accumulate ? 1f : 0f, out);
  }

  @Override
  public LinearWeights part(long row, long rows) {
    return new MatrixWeights(weights.rows(row, rows), Optional.empty());
  }

  @Override
  public Matrix matrix() {
    return weights.rows(0, weights.rows());
  }

  /** What was changed is the same memory. */
  @Override
  public LinearWeights replace(Matrix changed) {
    return parts.isPresent() ? SparseWeights.orMatrix(weights, parts.get()) : this;
  }

  @Override
  public void close() {
    weights.close();
  }
}
