package ai.owl.evaluation;

import ai.owl.checkpoint.MalformedCheckpointException;
import java.util.Locale;

/**
 * Perplexity by the protocol of SparseGPT, Wanda and OWL: one token stream is cut into consecutive
 * windows, the tail dropped; each window's loss is the mean over its next-token predictions; {@code
 * perplexity = exp(mean of the windows' losses)}.
 *
 * @param windows number of windows
 * @param tokens tokens in all windows
 */
public record Perplexity(double value, int windows, long tokens) implements Quality {
  @Override
  public String name() {
    return "perplexity";
  }

  @Override
  public String basis() {
    return String.format(Locale.ROOT, "over %d windows of %d tokens in all", windows, tokens);
  }

  /**
   * From the windows' losses, in their order.
   *
   * @param losses mean cross-entropies in nats
   * @throws MalformedCheckpointException if a loss is NaN or infinite
   */
  public static Perplexity of(double[] losses, long tokens) {
    double sum = 0;
    for (int w = 0; w < losses.length; w++) {
      if (!Double.isFinite(losses[w])) {
        throw new MalformedCheckpointException(
            "Cannot give a perplexity: the loss of window "
                + w
                + " is "
                + losses[w]
                + "; the model's hidden states are not finite");
      }
      sum += losses[w];
    }
    double value = Math.exp(sum / losses.length);
    if (Double.isInfinite(value)) {
      throw new MalformedCheckpointException(
          "Cannot give a perplexity: the mean loss of "
              + sum / losses.length
              + " nats is beyond what exp can hold");
    }
    return new Perplexity(value, losses.length, tokens);
  }
}
