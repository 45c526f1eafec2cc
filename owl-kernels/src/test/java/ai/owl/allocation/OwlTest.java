package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class OwlTest {
  /** What remains of each block of Qwen2.5-3B, as others computed it: S = 0.7, λ = 0.12. */
  private static final String QWEN_3B =
      """
      0.343388 0.335148 0.496317 0.496863 0.451426 0.369748 0.337961 0.332499 0.300696 0.295206
      0.278312 0.263607 0.264019 0.258506 0.256863 0.260768 0.257456 0.267603 0.265072 0.271248
      0.277699 0.272567 0.2685 0.273128 0.269375 0.279521 0.274294 0.285665 0.277301 0.271809
      0.276371 0.282789 0.272291 0.273089 0.261448 0.281448
      """;

  /** The same of Qwen2.5-72B: S = 0.7, λ = 0.08. */
  private static final String QWEN_72B =
      """
      0.433149 0.432572 0.360216 0.319894 0.327286 0.320919 0.320469 0.324225 0.308808 0.324244
      0.318163 0.323755 0.327402 0.315827 0.309151 0.322787 0.315271 0.309412 0.313144 0.309734
      0.295219 0.305924 0.307603 0.301624 0.293692 0.299814 0.289934 0.288253 0.291499 0.290555
      0.289262 0.28784 0.288227 0.286091 0.283651 0.286423 0.285858 0.285071 0.286587 0.283901
      0.285878 0.286243 0.285806 0.286727 0.287964 0.289877 0.289191 0.287859 0.288416 0.290867
      0.292438 0.29125 0.28942 0.289612 0.290638 0.290461 0.288434 0.289845 0.288312 0.287542
      0.285563 0.285968 0.285705 0.285505 0.285452 0.285464 0.285009 0.284979 0.285075 0.284527
      0.284789 0.285024 0.285118 0.285659 0.286933 0.289272 0.291941 0.297024 0.327604 0.273149
      """;

  private static final Pattern LIMIT = Pattern.compile("use a --lambda below ([0-9.]+)$");

  /** The formula takes what it gives for what it is made from. */
  @Test
  void returnsTheAllocationsOfQwen() {
    checkIdempotence(QWEN_3B, 36, 7, 0.12, 0.503137, 0.743137);
    checkIdempotence(QWEN_72B, 80, 7, 0.08, 0.566851, 0.726851);
  }

  private static void checkIdempotence(
      String golden, int blocks, double threshold, double lambda, double low, double high) {
    double[] kept = Arrays.stream(golden.trim().split("\\s+")).mapToDouble(Double::new).toArray();
    assertThat(kept).hasSize(blocks);
    SparsityAllocation allocation =
        new Owl(threshold, lambda).allocate(profiles(threshold, kept), 0.7);
    for (int i = 0; i < blocks; i++) {
      assertThat(1 - allocation.sparsity(i)).as("block %d", i).isCloseTo(kept[i], within(2e-6));
    }
    assertThat(Collections.min(allocation.sparsities())).isCloseTo(low, within(2e-6));
    assertThat(Collections.max(allocation.sparsities())).isCloseTo(high, within(2e-6));
  }

  @Test
  void computesThePublishedFormula() {
    Random random = new Random(1);
    for (int round = 0; round < 500; round++) {
      double[] ratios = random.doubles(2 + random.nextInt(80), 0, 3).toArray();
      double target = 0.3 + 0.4 * random.nextDouble();
      double lambda = 0.1 * random.nextDouble();
      double[] expected = published(percent(ratios), target, lambda);
      SparsityAllocation allocation = new Owl(5, lambda).allocate(profiles(5, ratios), target);
      assertThat(allocation.target()).isEqualTo(target);
      for (int i = 0; i < ratios.length; i++) {
        assertThat(allocation.sparsity(i)).isEqualTo(expected[i]);
      }
      double mean = allocation.sparsities().stream().mapToDouble(s -> s).average().orElseThrow();
      assertThat(mean).isCloseTo(target, within(1e-14));
      assertThat(Collections.max(allocation.sparsities()) - Collections.min(expected(expected)))
          .isCloseTo(2 * lambda, within(1e-14));
    }
  }

  private static List<Double> expected(double[] values) {
    return Arrays.stream(values).boxed().toList();
  }

  /** prune_all.py, line by line. */
  private static double[] published(double[] ratios, double target, double lambda) {
    double min = Arrays.stream(ratios).min().orElseThrow();
    double max = Arrays.stream(ratios).max().orElseThrow();
    double[] x = new double[ratios.length];
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      x[i] = (ratios[i] - min) * (1 / (max - min) * lambda * 2);
      sum += x[i];
    }
    double[] sparsities = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      sparsities[i] = 1 - (x[i] - sum / x.length + (1 - target));
    }
    return sparsities;
  }

  @Test
  void keepsMoreWhereThereAreMoreOutliers() {
    List<Double> sparsities =
        new Owl(5, 0.08).allocate(profiles(5, 0.2, 1.3, 0.7, 0.7), 0.7).sparsities();
    assertThat(sparsities.get(1)).isLessThan(sparsities.get(2)).isLessThan(sparsities.get(0));
    assertThat(sparsities.get(2)).isEqualTo(sparsities.get(3)).isLessThan(sparsities.get(0));
  }

  @Test
  void looksAtItsOwnThreshold() {
    LayerProfile one = new LayerProfile(0, 100, new TreeMap<>(java.util.Map.of(3.0, 9L, 5.0, 1L)));
    LayerProfile two = new LayerProfile(1, 100, new TreeMap<>(java.util.Map.of(3.0, 1L, 5.0, 9L)));
    assertThat(new Owl(3, 0.1).allocate(List.of(one, two), 0.5).sparsities())
        .containsExactly(0.4, 0.6);
    assertThat(new Owl(5, 0.1).allocate(List.of(one, two), 0.5).sparsities())
        .containsExactly(0.6, 0.4);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Owl(7, 0.1).allocate(List.of(one, two), 0.5))
        .withMessageContaining(
            "outlier ratio of block 0 at threshold 7.0: counted were [3.0, 5.0]");
  }

  @Test
  void saysThatTheRangeIsNotCentred() {
    SparsityAllocation allocation = new Owl(5, 0.08).allocate(profiles(5, 1, 1, 1, 2), 0.7);
    assertThat(allocation.sparsity(0)).isCloseTo(0.74, within(1e-12));
    assertThat(allocation.sparsity(3)).isCloseTo(0.58, within(1e-12));
    assertThat(allocation.warnings())
        .containsExactly(
            "sparsities lie in [0.5800, 0.7400], 2 lambda wide as published, but not centred on"
                + " 0.7");
    assertThat(new Owl(5, 0.08).allocate(profiles(5, 1, 2, 1, 2), 0.7).warnings()).isEmpty();
  }

  @Test
  void treatsBlocksAlikeThatItCannotTellApart() {
    SparsityAllocation allocation = new Owl(5, 0.08).allocate(profiles(5, 0.5, 0.5, 0.5), 0.7);
    assertThat(allocation.sparsities()).containsExactly(0.7, 0.7, 0.7);
    assertThat(allocation.warnings())
        .containsExactly(
            "OWL cannot tell the blocks apart (all blocks have the same outlier ratio, 0.5 %, at"
                + " threshold 5): all get the target sparsity");
    assertThat(new Owl(5, 0.08).allocate(profiles(5, 0, 0), 0.7).sparsities())
        .containsExactly(0.7, 0.7);
  }

  @Test
  void knowsAheadWhetherAnAllocationMayBeRefused() {
    assertThat(new Owl(5, 0.08).risk(0.7)).isEmpty();
    assertThat(new Owl(5, 0).risk(0)).isEmpty();
    assertThat(new Owl(5, 0.08).risk(0.97).orElseThrow())
        .contains("--lambda 0.08", "sparsity 0.97", "below 0.0150");
    assertThat(new Owl(5, 0.08).risk(0.1).orElseThrow()).contains("below 0.0500");
    // At the bound nothing is refused, whatever the outliers.
    for (double[] ratios : new double[][] {{0, 0, 0, 9}, {0, 9, 9, 9}}) {
      assertThat(new Owl(5, 0.0149).allocate(profiles(5, ratios), 0.97).sparsities())
          .allMatch(sparsity -> sparsity < 1);
      assertThat(new Owl(5, 0.05).allocate(profiles(5, ratios), 0.1).sparsities())
          .allMatch(sparsity -> sparsity >= 0);
    }
  }

  @Test
  void givesASingleBlockTheTarget() {
    SparsityAllocation allocation = new Owl(5, 0.08).allocate(profiles(5, 0.5), 0.7);
    assertThat(allocation.sparsities()).containsExactly(0.7);
    assertThat(allocation.warnings()).singleElement().asString().contains("only one block");
  }

  @Test
  void isUniformWithoutALambda() {
    SparsityAllocation allocation = new Owl(5, 0).allocate(profiles(5, 0.5, 1, 2), 0.7);
    assertThat(allocation.sparsities()).allMatch(s -> Math.abs(s - 0.7) < 1e-15);
    assertThat(allocation.warnings()).isEmpty();
    assertThat(new Owl(5, 0).allocate(profiles(5, 0.5, 1, 2), 0).sparsities())
        .containsExactly(0.0, 0.0, 0.0);
  }

  @Test
  void refusesALambdaThatLeavesTheRangeOfSparsitiesAndNamesOneThatDoesNot() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Owl(5, 0.3).allocate(profiles(5, 1, 1, 1, 2), 0.9))
        .withMessage(
            "Cannot allocate sparsity 0.9 over 4 blocks with --lambda 0.3: block 0 would get"
                + " 1.0500, outside [0, 1); use a --lambda below 0.2000");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Owl(5, 0.2).allocate(profiles(5, 2, 2, 2, 1), 0.05))
        .withMessageContaining("block 0 would get -0.0500")
        .withMessageEndingWith("use a --lambda below 0.1000");
  }

  @Test
  void namesTheLargestUsableLambda() {
    Random random = new Random(2);
    int refused = 0;
    for (int round = 0; round < 2000; round++) {
      List<LayerProfile> profiles =
          profiles(5, random.doubles(2 + random.nextInt(40), 0, 3).toArray());
      double target = random.nextDouble();
      Throwable failure =
          catchThrowable(() -> new Owl(5, 0.5 * random.nextDouble()).allocate(profiles, target));
      if (failure == null) {
        continue;
      }
      refused++;
      Matcher limit = LIMIT.matcher(failure.getMessage());
      if (limit.find()) {
        double lambda = Double.parseDouble(limit.group(1));
        new Owl(5, lambda - 1e-9).allocate(profiles, target);
        assertThatIllegalArgumentException()
            .isThrownBy(() -> new Owl(5, lambda + 1.001e-4).allocate(profiles, target));
      } else {
        assertThat(failure).hasMessageEndingWith("; use --allocation uniform");
        assertThatIllegalArgumentException()
            .isThrownBy(() -> new Owl(5, 1e-4).allocate(profiles, target));
      }
    }
    assertThat(refused).isGreaterThan(500);
  }

  @Test
  void sendsAwayWhoWantsNothingPruned() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Owl(5, 0.08).allocate(profiles(5, 1, 2), 0))
        .withMessageEndingWith("; use --allocation uniform");
  }

  @Test
  void saysHowMuchGoesWhereBlocksDifferInSize() {
    LayerProfile small = new LayerProfile(0, 100, new TreeMap<>(java.util.Map.of(5.0, 1L)));
    LayerProfile large = new LayerProfile(1, 300, new TreeMap<>(java.util.Map.of(5.0, 9L)));
    SparsityAllocation allocation = new Owl(5, 0.1).allocate(List.of(small, large), 0.5);
    assertThat(allocation.sparsities()).containsExactly(0.6, 0.4);
    assertThat(allocation.weightedMean()).isCloseTo(0.45, within(1e-12));
    assertThat(allocation.warnings())
        .containsExactly(
            "blocks differ in size: the plain mean of their sparsities is 0.5, but 0.4500 of all"
                + " weights will go");
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.01, 0.5, 1, Double.NaN, Double.POSITIVE_INFINITY})
  void refusesALambdaThatNoTargetCanUse(double lambda) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Owl(5, lambda))
        .withMessageStartingWith("Cannot use --lambda " + lambda + ": it must be in [0, 0.5)");
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, -5, Double.NaN, Double.POSITIVE_INFINITY})
  void refusesAThresholdThatIsNotPositive(double threshold) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Owl(threshold, 0.08))
        .withMessage(
            "Cannot use --outlier-threshold " + threshold + ": it must be a positive number");
  }

  /** Blocks of the same size with these outlier ratios, in percent, to six decimals. */
  private static List<LayerProfile> profiles(double threshold, double... ratios) {
    List<LayerProfile> profiles = new ArrayList<>();
    for (int i = 0; i < ratios.length; i++) {
      TreeMap<Double, Long> outliers = new TreeMap<>();
      outliers.put(threshold, Math.round(ratios[i] * 1e6));
      profiles.add(new LayerProfile(i, 100_000_000, outliers));
    }
    return profiles;
  }

  private static double[] percent(double[] ratios) {
    return Arrays.stream(ratios).map(ratio -> 100.0 * Math.round(ratio * 1e6) / 1e8).toArray();
  }
}
