package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SparsityAllocationTest {
  @Test
  void holdsOneSparsityForEachBlock() {
    SparsityAllocation allocation = of(0.5, 0.25, 0.75);
    assertThat(allocation.sparsity(0)).isEqualTo(0.25);
    assertThat(allocation.sparsity(1)).isEqualTo(0.75);
  }

  @Test
  void weighsBlocksByTheirSize() {
    SparsityAllocation allocation = of(0.5, List.of(0.25, 0.75), List.of(300L, 100L));
    assertThat(allocation.weightedMean()).isCloseTo(0.375, within(1e-15));
    long billions = 1L << 40;
    assertThat(of(0.5, List.of(0.25, 0.75), List.of(billions, billions)).weightedMean())
        .isCloseTo(0.5, within(1e-15));
  }

  @ParameterizedTest
  @ValueSource(doubles = {-1e-9, 1, 1.5, Double.NaN, Double.NEGATIVE_INFINITY})
  void refusesASparsityOutsideOfItsRange(double sparsity) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> of(0.5, 0.5, sparsity))
        .withMessage(
            "Cannot allocate a sparsity of " + sparsity + " to block 1: it is outside [0, 1)");
  }

  @Test
  void refusesAMeanThatMissesTheTarget() {
    of(0.5, 0.4, 0.6 + 1e-9);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> of(0.5, 0.25, 0.5))
        .withMessage("Cannot allocate a mean sparsity of 0.375: the target is 0.5");
    assertThatIllegalArgumentException().isThrownBy(() -> of(0.5, 0.4, 0.6 + 3e-9));
    assertThatIllegalArgumentException().isThrownBy(() -> of(Double.NaN, 0.5, 0.5));
  }

  @Test
  void refusesToCountBlocksDifferently() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> of(0.5, List.of(0.5), List.of(1L, 2L)))
        .withMessage("Cannot allocate 1 sparsities to 2 blocks");
    assertThatIllegalArgumentException().isThrownBy(() -> of(0.5, List.of(), List.of()));
  }

  @Test
  void isNotChangedThroughItsLists() {
    List<Double> sparsities = new ArrayList<>(List.of(0.5));
    SparsityAllocation allocation = of(0.5, sparsities, List.of(1L));
    sparsities.set(0, 0.9);
    assertThat(allocation.sparsity(0)).isEqualTo(0.5);
  }

  private static SparsityAllocation of(double target, double first, double second) {
    return of(target, List.of(first, second), List.of(1L, 1L));
  }

  private static SparsityAllocation of(double target, List<Double> sparsities, List<Long> weights) {
    return new SparsityAllocation(
        target, sparsities, weights, Collections.nCopies(sparsities.size(), List.of()), List.of());
  }
}
