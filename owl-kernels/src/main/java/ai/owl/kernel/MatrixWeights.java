package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/** Float32 weights, multiplied by OpenBLAS. */
record MatrixWeights(Matrix weights) implements LinearWeights {
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
    return new MatrixWeights(weights.rows(row, rows));
  }

  @Override
  public Matrix matrix() {
    return weights.rows(0, weights.rows());
  }

  /** The same memory. */
  @Override
  public void replace(Matrix changed) {}

  @Override
  public void close() {
    weights.close();
  }
}
