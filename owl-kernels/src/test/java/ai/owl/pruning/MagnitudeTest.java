package ai.owl.pruning;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.kernel.ZeroCount;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MagnitudeTest {
  private final Pruner magnitude = new MetricPruner(new Magnitude());

  @Test
  void comparesAllWeightsOfTheMatrix() {
    try (Matrix weight = Matrix.of(new float[][] {{1f, -2f, 3f}, {-40f, 50f, 60f}})) {
      magnitude.prune(weight, Optional.empty(), new SparsityPattern.Unstructured(0.4));
      assertThat(weight.toArray()).containsExactly(0f, 0f, 0f, -40f, 50f, 60f);
    }
  }

  /** As published: the weight at rank floor(size * sparsity) goes too. */
  @ParameterizedTest
  @CsvSource({
    "10, 10, 0.5, 51",
    "10, 10, 0.57, 57",
    "10, 10, 0.29, 29",
    "10, 10, 0.3, 31",
    "10, 10, 0.001, 1",
    "10, 10, 0.999, 100",
    "64, 64, 0.7, 2868",
    "700, 409, 0.7, 200411",
    "1, 1, 0.5, 1",
  })
  void removesOneMoreThanTheShare(int rows, int cols, double sparsity, int removed) {
    float[] values = new float[rows * cols];
    for (int i = 0; i < values.length; i++) {
      int mixed = (int) (i * 7919L % values.length); // another order, each once
      values[i] = (mixed % 2 == 0 ? 1 : -1) * (1f + mixed);
    }
    try (Matrix weight = RandomMatrix.of(values, rows, cols)) {
      magnitude.prune(weight, Optional.empty(), new SparsityPattern.Unstructured(sparsity));
      assertThat(ZeroCount.of(weight)).isEqualTo(removed);
      float[] kept = weight.toArray();
      for (int i = 0; i < kept.length; i++) {
        float expected = Math.abs(values[i]) <= removed ? 0f : values[i];
        if (kept[i] != expected) {
          assertThat(kept[i]).as("weight %d", i).isEqualTo(expected);
        }
      }
    }
  }

  @Test
  void removesAllEqualsOfTheLastWeightToGo() {
    try (Matrix weight = Matrix.of(new float[][] {{1f, 2f, -2f}, {2f, 2f, 3f}})) {
      magnitude.prune(weight, Optional.empty(), new SparsityPattern.Unstructured(0.2));
      assertThat(weight.toArray()).containsExactly(0f, 0f, 0f, 0f, 0f, 3f);
    }
  }

  @Test
  void changesNothingAtSparsityZero() {
    try (Matrix weight = Matrix.of(new float[][] {{1f, -0f}, {-2f, 0f}})) {
      magnitude.prune(weight, Optional.empty(), new SparsityPattern.Unstructured(0));
      assertThat(weight.toArray()).containsExactly(1f, -0f, -2f, 0f);
    }
  }

  @Test
  void writesPositiveZeros() {
    try (Matrix weight = Matrix.of(new float[][] {{-1f, -0f, -3f, -4f}})) {
      magnitude.prune(weight, Optional.empty(), new SparsityPattern.Unstructured(0.25));
      assertThat(weight.toArray()).containsExactly(0f, 0f, -3f, -4f);
    }
  }

  @Test
  void needsNoStatistics() {
    assertThat(magnitude.needsStatistics()).isFalse();
    assertThat(magnitude.name()).isEqualTo("magnitude");
  }
}
