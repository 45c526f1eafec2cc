package ai.owl.pruning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import ai.owl.pruning.SparsityPattern.NofM;
import ai.owl.pruning.SparsityPattern.Unstructured;
import ai.owl.tensor.Matrix;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SparsityPatternTest {
  @Test
  void isNamedByWhatIsKept() {
    NofM pattern = new NofM(3, 8);
    assertThat(pattern.label()).isEqualTo("3:8");
    assertThat(pattern.sparsity()).isEqualTo(0.625);
    try (Matrix weight = Matrix.of(new float[][] {{1, 8, -2, 7, 3, 6, 4, -5}})) {
      new MetricPruner(new Magnitude()).prune(weight, Optional.empty(), pattern);
      assertThat(weight.toArray()).containsExactly(0, 8, 0, 7, 0, 6, 0, 0);
    }
  }

  @ParameterizedTest
  @CsvSource({"0.5, 4", "0.625, 3", "0, 8", "0.875, 1", "0.25000000001, 6"})
  void takesTheShareOfWholeWeights(double sparsity, int kept) {
    assertThat(new NofM(4, 8).at(sparsity)).isEqualTo(new NofM(kept, 8));
  }

  @Test
  void refusesWhatItCannotBe() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new NofM(4, 8).at(0.6))
        .withMessageStartingWith("Cannot prune to 0.6 with groups of 8: that would keep 3.2");
    for (int[] wrong : new int[][] {{0, 4}, {5, 4}, {-1, 4}, {1, 1}, {64, 129}}) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> new NofM(wrong[0], wrong[1]))
          .withMessageStartingWith("Cannot use --pattern " + wrong[0] + ":" + wrong[1]);
    }
    for (double wrong : new double[] {-0.1, 1, Double.NaN}) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> new Unstructured(wrong))
          .withMessageStartingWith("Cannot use --sparsity " + wrong);
    }
  }
}
