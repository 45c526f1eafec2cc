package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * The scores of RIA: {@code (|W_ij| / Σ_k |W_kj| + |W_ij| / Σ_k |W_ik|) · norm_j^a}. A weight is
 * measured against its column and its row, so that those of weak ones are not all lost.
 */
public final class RelativeImportance {
  private RelativeImportance() {}

  /**
   * @param weight (out_features, in_features), as it is now; may be changed later
   * @param norms ‖x_j‖₂, (in_features)
   * @param power a
   */
  public static WeightScores of(Matrix weight, float[] norms, double power) {
    float[] columns = columnSums(weight);
    float[] factors = new float[norms.length];
    for (int j = 0; j < factors.length; j++) {
      factors[j] = (float) Math.pow(norms[j], power);
    }
    return (row, weights, scores) -> {
      RowCode.relativeImportance().magnitudes(weights, scores, 0, scores.length);
      double[] sums = new double[RowOperations.SUMS];
      RowCode.relativeImportance().addValues(scores, 0, scores.length, sums);
      float sum = (float) RowOperations.total(sums);
      RowCode.relativeImportance()
          .relative(scores, columns, sum, factors, scores, 0, scores.length);
    };
  }

  /** {@code Σ_i |W_ij|}, chunk by chunk in float64. */
  private static float[] columnSums(Matrix weight) {
    double[][] partial = new double[RowChunks.count(weight)][];
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          double[] sums = new double[row.length];
          for (long r = from; r < to; r++) {
            weight.row(r, row);
            for (int j = 0; j < row.length; j++) {
              sums[j] += Math.abs(row[j]);
            }
          }
          partial[chunk] = sums;
        });
    float[] columns = new float[weight.cols()];
    for (int j = 0; j < columns.length; j++) {
      double sum = 0;
      for (double[] sums : partial) {
        sum += sums[j];
      }
      columns[j] = (float) sum;
    }
    return columns;
  }
}
