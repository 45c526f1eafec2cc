package ai.owl.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import ai.owl.checkpoint.MalformedCheckpointException;
import org.junit.jupiter.api.Test;

class PerplexityTest {
  @Test
  void isTheExponentialOfTheMeanLoss() {
    Perplexity perplexity = Perplexity.of(new double[] {1, 2, 4.5}, 300);
    assertThat(perplexity.value()).isCloseTo(Math.exp(2.5), within(1e-12));
    assertThat(perplexity.windows()).isEqualTo(3);
    assertThat(perplexity.tokens()).isEqualTo(300);
    assertThat(Perplexity.of(new double[] {0}, 2).value()).isEqualTo(1);
    assertThat(Perplexity.of(new double[] {700}, 2).value()).isEqualTo(Math.exp(700));
  }

  @Test
  void refusesLossesThatAreNoNumbers() {
    for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
      assertThatExceptionOfType(MalformedCheckpointException.class)
          .isThrownBy(() -> Perplexity.of(new double[] {1, bad, 1}, 300))
          .withMessage(
              "Cannot give a perplexity: the loss of window 1 is "
                  + bad
                  + "; the model's hidden states are not finite");
    }
  }

  @Test
  void refusesALossBeyondAnyPerplexity() {
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> Perplexity.of(new double[] {500, 1000}, 300))
        .withMessageContaining("the mean loss of 750.0 nats");
  }
}
