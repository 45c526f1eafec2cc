package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.Arrays;
import java.util.concurrent.atomic.LongAdder;

/**
 * Removes from every row the smallest scores that together make up a share α of the row's sum of
 * scores, with the one α for all rows that reaches the wanted sparsity: Wanda's {@code
 * --use_variant}. Rows that are held up by few large weights lose more of the others.
 */
public final class CumulativeShare {
  private static final double CLOSE = 0.001;

  private CumulativeShare() {}

  /**
   * Bisects α as the published code does: from 0.4 in [0, 0.8], until the sparsity is within 0.001
   * of the wanted one or the interval is narrower than that; then zeroes the weights.
   *
   * @param weight (out_features, in_features), changed
   * @param sparsity the wanted share of zeros
   * @return the sparsity that the last α gives
   */
  public static double zero(Matrix weight, WeightScores scores, double sparsity) {
    try (Matrix sorted = new Matrix(weight.rows(), weight.cols())) {
      RowChunks.forEach(
          weight,
          (chunk, from, to) -> {
            float[] row = new float[weight.cols()];
            float[] scored = new float[weight.cols()];
            for (long r = from; r < to; r++) {
              weight.row(r, row);
              scores.of(r, row, scored);
              Arrays.sort(scored);
              sorted.setRow(r, scored);
            }
          });
      double low = 0;
      double high = 0.8;
      double alpha = 0.4;
      double reached = reached(sorted, alpha);
      while (Math.abs(reached - sparsity) > CLOSE && high - low >= CLOSE) {
        if (reached > sparsity) {
          high = alpha;
          alpha = (alpha + low) / 2;
        } else {
          low = alpha;
          alpha = (alpha + high) / 2;
        }
        reached = reached(sorted, alpha);
      }
      zero(weight, scores, sorted, alpha);
      return reached;
    }
  }

  /**
   * The largest score of a row that goes: the last one up to which the scores' sum is at most α of
   * the whole. Negative if none goes.
   */
  private static float threshold(float[] sorted, double alpha) {
    double all = 0;
    for (float score : sorted) {
      all += score;
    }
    double limit = all * alpha;
    double sum = 0;
    float threshold = -1;
    for (float score : sorted) {
      sum += score;
      if (sum > limit) {
        break;
      }
      threshold = score;
    }
    return threshold;
  }

  private static double reached(Matrix sorted, double alpha) {
    LongAdder removed = new LongAdder();
    RowChunks.forEach(
        sorted,
        (chunk, from, to) -> {
          float[] row = new float[sorted.cols()];
          for (long r = from; r < to; r++) {
            sorted.row(r, row);
            float threshold = threshold(row, alpha);
            int count = 0;
            while (count < row.length && row[count] <= threshold) { // its equals too
              count++;
            }
            removed.add(count);
          }
        });
    return (double) removed.sum() / sorted.size();
  }

  private static void zero(Matrix weight, WeightScores scores, Matrix sorted, double alpha) {
    RowChunks.forEach(
        weight,
        (chunk, from, to) -> {
          float[] row = new float[weight.cols()];
          float[] scored = new float[weight.cols()];
          for (long r = from; r < to; r++) {
            sorted.row(r, scored);
            float threshold = threshold(scored, alpha);
            weight.row(r, row);
            scores.of(r, row, scored);
            for (int j = 0; j < row.length; j++) {
              if (scored[j] <= threshold) {
                row[j] = 0f;
              }
            }
            weight.setRow(r, row);
          }
        });
  }
}
