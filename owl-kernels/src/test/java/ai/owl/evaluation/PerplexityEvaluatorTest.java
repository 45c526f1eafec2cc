package ai.owl.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.SampleModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class PerplexityEvaluatorTest {
  private final SampleModel sample = new SampleModel(3, 5);
  private final List<Integer> done = new ArrayList<>();

  @Test
  void findsAModelThatKnowsNothingAsPerplexedAsItsVocabularyIsLarge() throws IOException {
    Arrays.fill(sample.values("lm_head.weight"), 0f);
    Perplexity perplexity =
        evaluate(new int[] {1, 2, 3, 39}, new int[] {5, 5}, new int[] {0, 1, 0});
    assertThat(perplexity.value()).isCloseTo(40, within(1e-9));
    assertThat(perplexity.windows()).isEqualTo(3);
    assertThat(perplexity.tokens()).isEqualTo(9);
    assertThat(done).containsExactly(0, 1, 2);
  }

  /** A short window counts as much as a long one. */
  @Test
  void weighsWindowsAlike() throws IOException {
    int[] longer = {7, 8, 9, 1, 30, 2, 2, 11};
    int[] shorter = {4, 39};
    double one = Math.log(evaluate(longer).value());
    double other = Math.log(evaluate(shorter).value());
    assertThat(Math.log(evaluate(longer, shorter).value()))
        .isCloseTo((one + other) / 2, within(1e-12));
  }

  /** Finite weights, but their products are not. */
  @Test
  void refusesHiddenStatesThatOverflow() {
    for (String name : new String[] {"gate_proj", "up_proj", "down_proj"}) {
      Arrays.fill(sample.values("model.layers.1.mlp." + name + ".weight"), 1e30f);
    }
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> evaluate(new int[] {1, 2, 3}))
        .withMessageContaining("the loss of window 0 is NaN");
  }

  private Perplexity evaluate(int[]... windows) throws IOException {
    MemoryStorage storage = new MemoryStorage();
    done.clear();
    try (TensorReader reader = new TensorReader(storage)) {
      return PerplexityEvaluator.evaluate(
          sample.layout(storage), TokenSequences.of(List.of(windows)), reader, done::add);
    }
  }
}
