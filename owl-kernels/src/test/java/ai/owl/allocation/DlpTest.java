package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DlpTest {
  /** What remains of LLaMA-7B's blocks at S = 0.7 and α = 0.15, as its authors computed it. */
  private static final double[] LLAMA_7B = {
    .4676, .4517, .4347, .4174, .4054, .3907, .3825, .3753, .3680, .3621, .3533, .3466, .3336,
        .3260,
    .3182, .3088, .2953, .2801, .2698, .2605, .2447, .2366, .2315, .2210, .2141, .2034, .1961,
        .1919,
    .1843, .1751, .1676, .1862
  };

  /** Means of scores that fall as the densities rise have these densities. */
  @Test
  void returnsTheAllocationOfLlama7b() {
    double[] means = Arrays.stream(LLAMA_7B).map(density -> 3 * (1 - density)).toArray();
    SparsityAllocation allocation = new Dlp(0.15).allocate(blocks(means), 0.7);
    for (int i = 0; i < LLAMA_7B.length; i++) {
      assertThat(1 - allocation.sparsity(i)).isCloseTo(LLAMA_7B[i], within(1e-4));
    }
    assertThat(allocation.sparsity(30) - allocation.sparsity(0)).isCloseTo(0.3, within(1e-12));
  }

  @Test
  void dividesByTheSizeOfTheBlock() {
    List<LayerProfile> profiles =
        List.of(
            SampleProfiles.block(0, linear(10, 10, 200), linear(10, 30, 200)), // 1
            SampleProfiles.block(1, linear(10, 10, 300)), // 3
            SampleProfiles.block(2, linear(20, 10, 400))); // 2
    SparsityAllocation allocation = new Dlp(0.1).allocate(profiles, 0.6);
    assertThat(allocation.sparsities())
        .zipSatisfy(
            List.of(0.5, 0.7, 0.6),
            (ours, exact) -> assertThat(ours).isCloseTo(exact, within(1e-12)));
    assertThat(allocation.warnings())
        .containsExactly(
            "blocks differ in size: the plain mean of their sparsities is 0.6, but 0.5571 of all"
                + " weights will go");
  }

  @Test
  void refusesWhatLeavesTheRange() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Dlp(0.15).allocate(blocks(1, 2, 1), 0.9))
        .withMessage(
            "Cannot allocate sparsity 0.9 over 3 blocks with --dlp-alpha 0.15: block 1 would get"
                + " 1.1000, outside [0, 1); use a --dlp-alpha below 0.0750");
    assertThat(new Dlp(0.15).risk(0.9).orElseThrow())
        .startsWith("--dlp-alpha 0.15 may be too much for sparsity 0.9");
    assertThat(new Dlp(0.0749).allocate(blocks(1, 2, 1), 0.9).sparsities()).allMatch(s -> s < 1);
  }

  @Test
  void treatsBlocksAlikeThatItCannotTellApart() {
    for (double mean : new double[] {1, 0}) {
      SparsityAllocation allocation = new Dlp(0.15).allocate(blocks(mean, mean), 0.7);
      assertThat(allocation.sparsities()).containsExactly(0.7, 0.7);
      assertThat(allocation.warnings()).singleElement().asString().contains("same mean score");
    }
  }

  @Test
  void needsTheSums() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Dlp(0.15).allocate(blocks(1, Double.NaN), 0.7))
        .withMessage("Cannot allocate by dlp: layer has no SCORE_SUMS measured");
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.01, 0.5, Double.NaN})
  void refusesAnAlphaThatNoTargetCanUse(double alpha) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Dlp(alpha))
        .withMessageStartingWith("Cannot use --dlp-alpha " + alpha + ": it must be in [0, 0.5)");
  }

  private static List<LayerProfile> blocks(double... means) {
    return SampleProfiles.blocks(means.length, i -> linear(100, 100, 10_000 * means[i]));
  }

  private static LinearProfile linear(long rows, int cols, double scoreSum) {
    return new LinearProfile("layer", rows, cols, scoreSum, new TreeMap<>());
  }
}
