package ai.owl.planning;

/**
 * What a run is given besides the model.
 *
 * @param sequences for calibration
 * @param tokens of each
 * @param windows to measure perplexity on, before and after; 0 for none
 * @param knowsDenseModel whether a former run's statistics of the dense model are at hand, so that
 *     it needs no pass for them
 */
public record Workload(int sequences, int tokens, int windows, boolean knowsDenseModel) {
  public Workload {
    if (sequences < 1) {
      throw new IllegalArgumentException("Cannot plan for " + sequences + " sequences");
    }
    if (tokens < 2) {
      throw new IllegalArgumentException("Cannot plan for sequences of " + tokens + " tokens");
    }
    if (windows < 0) {
      throw new IllegalArgumentException("Cannot plan for " + windows + " evaluation windows");
    }
  }
}
