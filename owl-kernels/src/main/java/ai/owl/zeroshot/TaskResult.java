package ai.owl.zeroshot;

import java.io.Serializable;
import java.util.List;
import java.util.Optional;

/**
 * How well a model does at one task.
 *
 * @param task its name
 * @param items number of items
 * @param estimates one a metric
 */
public record TaskResult(String task, int items, List<Estimate> estimates) implements Serializable {
  /**
   * A share of items that stands for that of all items there could be.
   *
   * @param value in [0, 1]
   * @param standardError of the mean, from the sample's variance with n − 1; NaN for one item
   */
  public record Estimate(TaskMetric metric, double value, double standardError)
      implements Serializable {
    /** The mean of ones and zeros. */
    static Estimate of(TaskMetric metric, boolean[] right) {
      int n = right.length;
      int sum = 0;
      for (boolean one : right) {
        sum += one ? 1 : 0;
      }
      double mean = (double) sum / n;
      double squares = sum * (1 - mean) * (1 - mean) + (n - sum) * mean * mean;
      return new Estimate(metric, mean, Math.sqrt(squares / (n - 1)) / Math.sqrt(n));
    }
  }

  /** What was found for a metric, if the task reports it. */
  public Optional<Estimate> estimate(TaskMetric metric) {
    return estimates.stream().filter(each -> each.metric() == metric).findFirst();
  }
}
