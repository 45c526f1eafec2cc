package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What looks at shapes and at the order of blocks only: Erdős–Rényi and ATP. */
class ShapeAndOrderRulesTest {

  /** Densities of LLaMA-7B's shapes, by hand: ε = ΣN·(1−S)/Σ(rows+cols), nothing is dense. */
  @Test
  void erdosRenyiFollowsTheShapes() {
    List<LayerProfile> profiles = llama(32, 4096, 4096, 11008);
    SparsityAllocation allocation = new ErdosRenyi().allocate(profiles, 0.7);
    double weights = 4.0 * 4096 * 4096 + 3.0 * 4096 * 11008;
    double epsilon = weights * 0.3 / (4 * 8192 + 3 * (4096 + 11008));
    assertThat(allocation.sparsity(31, 0))
        .isCloseTo(1 - epsilon * 8192 / (4096.0 * 4096), within(1e-12));
    assertThat(allocation.sparsity(0, 6))
        .isCloseTo(1 - epsilon * 15104 / (4096.0 * 11008), within(1e-12));
    assertThat(allocation.weightedMean()).isCloseTo(0.7, within(1e-12));
    assertThat(allocation.warnings()).isEmpty();
  }

  /** Grouped key and value projections, 1024 x 8192, are so small that they stay dense. */
  @ParameterizedTest
  @ValueSource(doubles = {0.5, 0.6, 0.7, 0.8})
  void erdosRenyiKeepsSmallLayersDense(double target) {
    List<LayerProfile> profiles = llama(80, 8192, 1024, 28672);
    SparsityAllocation allocation = new ErdosRenyi().allocate(profiles, target);
    assertThat(allocation.weightedMean()).isCloseTo(target, within(1e-9));
    double[] sparsities = SampleProfiles.all(allocation, profiles);
    assertThat(Arrays.stream(sparsities)).allMatch(s -> s >= 0 && s < 1);
    // Where layers share, ε is the same for all: density over (rows + cols)/(rows · cols).
    double epsilon = (1 - sparsities[0]) / (16384 / (8192.0 * 8192));
    assertThat(1 - sparsities[4])
        .isCloseTo(epsilon * (8192 + 28672) / (8192.0 * 28672), within(1e-12));
    double small = epsilon * (8192 + 1024) / (8192.0 * 1024);
    assertThat(sparsities[1]).isCloseTo(small > 1 ? 0 : 1 - small, within(1e-12));
    assertThat(allocation.warnings()).hasSize(small > 1 ? 1 : 0);
    if (target == 0.5) {
      assertThat(allocation.warnings())
          .containsExactly(
              "er leaves 160 of 560 linear layers dense: they are so small that their share would"
                  + " be more than all");
    }
  }

  @Test
  void erdosRenyiRemovesNothingIfAskedFor() {
    List<LayerProfile> profiles = llama(2, 64, 16, 128);
    assertThat(SampleProfiles.all(new ErdosRenyi().allocate(profiles, 0), profiles))
        .containsOnly(0.0);
  }

  @Test
  void atpIsAnArithmeticProgression() {
    List<LayerProfile> profiles = llama(5, 64, 64, 128);
    assertThat(new Atp(0.05).allocate(profiles, 0.7).sparsities())
        .zipSatisfy(
            List.of(0.6, 0.65, 0.7, 0.75, 0.8),
            (ours, exact) -> assertThat(ours).isCloseTo(exact, within(1e-12)));
    assertThat(new Atp(0).allocate(profiles, 0.7).sparsities()).containsOnly(0.7);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Atp(0.16).allocate(profiles, 0.7))
        .withMessage(
            "Cannot allocate sparsity 0.7 over 5 blocks with --atp-beta 0.16: sparsities would go"
                + " from 0.3800 to 1.0200, outside [0, 1); use a --atp-beta below 0.1500");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Atp(-0.1))
        .withMessageStartingWith("Cannot use --atp-beta -0.1");
  }

  private static List<LayerProfile> llama(int blocks, int hidden, int keys, int inner) {
    List<LayerProfile> profiles = new ArrayList<>();
    for (int i = 0; i < blocks; i++) {
      profiles.add(
          SampleProfiles.block(
              i,
              SampleProfiles.shape(i + ".q", hidden, hidden),
              SampleProfiles.shape(i + ".k", keys, hidden),
              SampleProfiles.shape(i + ".v", keys, hidden),
              SampleProfiles.shape(i + ".o", hidden, hidden),
              SampleProfiles.shape(i + ".gate", inner, hidden),
              SampleProfiles.shape(i + ".up", inner, hidden),
              SampleProfiles.shape(i + ".down", hidden, inner)));
    }
    return profiles;
  }
}
