package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** OWL by the paper's text, by linear layer, and turned round. */
class OwlRelativesTest {

  @Test
  void boundedStaysWithinLambdaAndKeepsTheMeanBySize() {
    Random random = new Random(1);
    for (int round = 0; round < 300; round++) {
      List<LayerProfile> profiles = new ArrayList<>();
      int blocks = 2 + random.nextInt(60);
      for (int i = 0; i < blocks; i++) {
        profiles.add(block(i, 1_000_000 + random.nextInt(9_000_000), random.nextInt(30_000)));
      }
      double target = 0.25 + 0.5 * random.nextDouble();
      double lambda = 0.2 * random.nextDouble();
      SparsityAllocation allocation = new OwlBounded(5, lambda).allocate(profiles, target);
      assertThat(allocation.weightedMean()).isCloseTo(target, within(1e-12));
      double low = Collections.min(allocation.sparsities());
      double high = Collections.max(allocation.sparsities());
      assertThat(low).isGreaterThanOrEqualTo(target - lambda - 1e-12);
      assertThat(high).isLessThanOrEqualTo(target + lambda + 1e-12);
      // One bound is met: a steeper map would leave the interval.
      assertThat(Math.max(high - target, target - low)).isCloseTo(lambda, within(1e-12));
      assertThat(allocation.warnings()).isEmpty();
      for (int i = 1; i < blocks; i++) {
        double difference = profiles.get(i).outlierRatio(5) - profiles.get(i - 1).outlierRatio(5);
        assertThat((allocation.sparsity(i) - allocation.sparsity(i - 1)) * difference)
            .as("more outliers, less sparsity")
            .isLessThanOrEqualTo(1e-12);
      }
    }
  }

  @Test
  void boundedRefusesWhatLeavesTheRangeAndNamesALambdaThatDoesNot() {
    List<LayerProfile> profiles = List.of(block(0, 100, 0), block(1, 100, 0), block(2, 100, 9));
    assertThat(new OwlBounded(5, 0.2).risk(0.9)).isPresent();
    assertThat(new OwlBounded(5, 0.05).risk(0.9)).isEmpty();
    assertThat(new OwlBounded(5, 0.0999).allocate(profiles, 0.95).sparsities().get(2))
        .isCloseTo(0.8501, within(1e-12));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new OwlBounded(5, 0.12).allocate(profiles, 0.95))
        .withMessage(
            "Cannot allocate sparsity 0.95 over 3 blocks with --lambda 0.12: block 0 would get"
                + " 1.0100, outside [0, 1); use a --lambda below 0.1000");
  }

  @Test
  void boundedTreatsEqualBlocksAlike() {
    SparsityAllocation allocation =
        new OwlBounded(5, 0.08)
            .allocate(List.of(block(0, 300, 1), block(1, 300, 1), block(2, 300, 1)), 0.7);
    assertThat(allocation.sparsities()).containsExactly(0.7, 0.7, 0.7);
    assertThat(allocation.warnings())
        .singleElement()
        .asString()
        .startsWith("owl-bounded cannot tell the blocks apart (all blocks have the same outlier");
  }

  @Test
  void inverseMirrorsOwl() {
    List<LayerProfile> profiles = List.of(block(0, 100, 1), block(1, 100, 4), block(2, 100, 9));
    List<Double> owl = new Owl(5, 0.08).allocate(profiles, 0.7).sparsities();
    List<Double> inverse = new OwlInverse(5, 0.08).allocate(profiles, 0.7).sparsities();
    for (int i = 0; i < 3; i++) {
      assertThat(inverse.get(i)).isCloseTo(1.4 - owl.get(i), within(1e-12));
    }
    assertThat(inverse.get(2)).isGreaterThan(inverse.get(0));
  }

  @Test
  void inverseRefusesWhatLeavesTheRange() {
    List<LayerProfile> profiles = List.of(block(0, 100, 1), block(1, 100, 1), block(2, 100, 9));
    // u = mean(x)/λ = 4/3 of 2: s_max = S + λ·4/3
    assertThat(new OwlInverse(5, 0.0749).allocate(profiles, 0.9).sparsities())
        .allMatch(sparsity -> sparsity < 1);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new OwlInverse(5, 0.08).allocate(profiles, 0.9))
        .withMessage(
            "Cannot allocate sparsity 0.9 over 3 blocks with --lambda 0.08: block 2 would get"
                + " 1.0067, outside [0, 1); use a --lambda below 0.0750");
  }

  @Test
  void linearSpansTwoLambdaOverAllLayersAndKeepsTheMeanBySize() {
    List<LayerProfile> profiles =
        List.of(
            SampleProfiles.block(
                0,
                SampleProfiles.withOutliers("a", 10, 10, 5, 1), // 1 %
                SampleProfiles.withOutliers("b", 10, 30, 5, 9)), // 3 %
            SampleProfiles.block(
                1,
                SampleProfiles.withOutliers("c", 20, 10, 5, 4), // 2 %
                SampleProfiles.withOutliers("d", 10, 40, 5, 4))); // 1 %
    SparsityAllocation allocation = new OwlLinear(5, 0.1).allocate(profiles, 0.6);
    // x = 0, 0.2, 0.1, 0; mean by size = (300·0.2 + 200·0.1) / 1000 = 0.08
    double[] sparsities = SampleProfiles.all(allocation, profiles);
    assertThat(sparsities).containsExactly(new double[] {0.68, 0.48, 0.58, 0.68}, within(1e-12));
    assertThat(allocation.weightedMean()).isCloseTo(0.6, within(1e-12));
    assertThat(allocation.sparsity(0)).isCloseTo((0.68 * 100 + 0.48 * 300) / 400, within(1e-12));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new OwlLinear(5, 0.2).allocate(profiles, 0.9))
        .withMessageContaining("over 4 linear layers with --lambda 0.2: a would get 1.06");
  }

  @Test
  void linearNeedsLinearLayersWithTheirOwnCounts() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new OwlLinear(5, 0.1).allocate(List.of(block(0, 100, 1)), 0.6))
        .withMessage(
            "Cannot allocate by owl-linear: of block 0 only the size is known, and not its linear"
                + " layers");
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new OwlLinear(7, 0.1)
                    .allocate(
                        List.of(
                            SampleProfiles.block(
                                0, SampleProfiles.withOutliers("a", 10, 10, 5, 1))),
                        0.6))
        .withMessage("Cannot give the outlier ratio of a at threshold 7.0: counted were [5.0]");
  }

  private static LayerProfile block(int index, long weights, long outliers) {
    TreeMap<Double, Long> counts = new TreeMap<>();
    counts.put(5.0, outliers);
    return new LayerProfile(index, weights, counts);
  }
}
