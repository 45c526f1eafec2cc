package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CumulativeShareTest {
  @ParameterizedTest
  @ValueSource(doubles = {0.3, 0.5, 0.7, 0.8})
  void findsTheShareThatReachesTheSparsity(double sparsity) {
    try (Matrix weight = RandomMatrix.of(1, 200, 409)) {
      WeightScores scores = WeightScores.weighted(RandomMatrix.norms(2, 409));
      double reached = CumulativeShare.zero(weight, scores, sparsity);
      assertThat((double) ZeroCount.of(weight) / weight.size()).isEqualTo(reached);
      assertThat(reached).isCloseTo(sparsity, within(0.001));
    }
  }

  /** Where few weights hold a row up, more of the others go. */
  @Test
  void takesMoreOfARowThatFewWeightsHoldUp() {
    try (Matrix weight =
        Matrix.of(new float[][] {{100f, 1f, 1f, 1f, 1f, 1f, 1f, 1f}, {1, 2, 3, 4, 5, 6, 7, 8}})) {
      CumulativeShare.zero(weight, WeightScores.magnitude(), 0.6875);
      // α = 0.28...: 7 of 107 are less, and so are 1 + 2 + 3 + 4 of 36.
      assertThat(weight.toArray())
          .containsExactly(100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 7, 8);
    }
  }

  @Test
  void removesTheEqualsOfTheLastOneToo() {
    try (Matrix weight = Matrix.of(new float[][] {{1f, -1f, 1f, 1f, 8f, 9f}})) {
      double reached = CumulativeShare.zero(weight, WeightScores.magnitude(), 0.6667);
      assertThat(reached).isCloseTo(0.6667, within(1e-4));
      assertThat(weight.toArray()).containsExactly(0f, 0f, 0f, 0f, 8f, 9f);
    }
  }
}
