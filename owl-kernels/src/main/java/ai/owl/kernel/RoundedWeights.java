package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * Weights that bfloat16 does not hold: rounded for products, and kept as they are beside that,
 * since it is those that are pruned and written.
 */
record RoundedWeights(Matrix weights, PackedWeights rounded) implements LinearWeights {
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
    rounded.multiply(x, accumulate, out);
  }

  @Override
  public LinearWeights part(long row, long rows) {
    return rounded.part(row, rows);
  }

  @Override
  public Matrix matrix() {
    return weights.rows(0, weights.rows());
  }

  @Override
  public void replace(Matrix changed) {
    rounded.replace(changed);
  }

  @Override
  public void close() {
    weights.close();
    rounded.close();
  }
}
