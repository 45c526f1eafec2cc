package ai.owl.kernel;

/**
 * How much each weight of a matrix matters, row by row: what selection compares. Scores are never
 * negative. Rows may be asked for by several threads at once.
 */
@FunctionalInterface
public interface WeightScores {
  /**
   * Scores one row.
   *
   * @param row index of the row
   * @param weights the row's weights, (in_features); not changed
   * @param scores (in_features), replaced
   */
  void of(long row, float[] weights, float[] scores);

  /** {@code |W_ij|}. */
  static WeightScores magnitude() {
    return (row, weights, scores) ->
        RowCode.selection().magnitudes(weights, scores, 0, scores.length);
  }

  /**
   * {@code |W_ij| · norm_j} in float32, as the published code multiplies.
   *
   * @param norms (in_features)
   */
  static WeightScores weighted(float[] norms) {
    return (row, weights, scores) ->
        RowCode.selection().weighted(weights, norms, scores, 0, scores.length);
  }
}
