package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import ai.owl.kernel.Spectrum;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class AlphaPruningTest {
  /** Means of the exponents of LLaMA-7B's blocks, as its authors published them. */
  private static final double[] LLAMA_7B = {
    2.6222, 2.8899, 2.9690, 2.9645, 3.0900, 3.0638, 2.9606, 2.7456, 2.7752, 2.6086, 2.7167, 2.7297,
    2.7843, 2.8517, 2.8966, 3.1767, 3.1230, 3.4461, 3.8715, 3.6060, 3.8945, 4.0660, 3.7551, 3.7146,
    3.9941, 4.2204, 4.1024, 4.1604, 3.8508, 4.0934, 4.1601, 3.5374
  };

  /** What follows from them at S = 0.7 and ε = 0.2. */
  private static final double[] SPARSITIES = {
    .5704, .6176, .6315, .6307, .6529, .6482, .6301, .5922, .5974, .5680, .5871, .5894, .5990,
        .6109,
    .6188, .6681, .6587, .7156, .7906, .7438, .7946, .8248, .7701, .7629, .8122, .8521, .8313,
        .8415,
    .7869, .8297, .8414, .7317
  };

  @Test
  void mapsTheExponentsOfLlama7b() {
    List<LayerProfile> profiles = blocks(LLAMA_7B);
    for (int i = 0; i < LLAMA_7B.length; i++) {
      assertThat(AlphaFit.MID.alpha(profiles.get(i).linears().get(0).spectrum()))
          .isCloseTo(LLAMA_7B[i], within(1e-9));
    }
    SparsityAllocation allocation =
        new AlphaPruning(AlphaFit.MID, 0.2, false).allocate(profiles, 0.7);
    for (int i = 0; i < SPARSITIES.length; i++) {
      assertThat(allocation.sparsity(i)).as("block %d", i).isCloseTo(SPARSITIES[i], within(1e-4));
    }
    assertThat(allocation.weightedMean()).isCloseTo(0.7, within(1e-12));
  }

  @Test
  void weighsLayersBySize() {
    LinearProfile a = SampleProfiles.shape("a", 10, 10).withSpectrum(spectrum(2));
    LinearProfile b = SampleProfiles.shape("b", 10, 30).withSpectrum(spectrum(4));
    LinearProfile c = SampleProfiles.shape("c", 10, 10).withSpectrum(spectrum(5));
    LinearProfile d = SampleProfiles.shape("d", 10, 50).withSpectrum(spectrum(3));
    List<LayerProfile> profiles =
        List.of(SampleProfiles.block(0, a, b), SampleProfiles.block(1, c, d));
    // By layer: r = 0.8, 0.8 + 0.4·2/3, 1.2, 0.8 + 0.4/3
    double[] r = {0.8, 0.8 + 0.8 / 3, 1.2, 0.8 + 0.4 / 3};
    double level = 0.6 * 1000 / (100 * r[0] + 300 * r[1] + 100 * r[2] + 500 * r[3]);
    double[] expected = Arrays.stream(r).map(x -> level * x).toArray();
    SparsityAllocation byLayer = new AlphaPruning(AlphaFit.MID, 0.2, true).allocate(profiles, 0.6);
    assertThat(SampleProfiles.all(byLayer, profiles)).containsExactly(expected, within(1e-9));
    // By block, the mean of the exponents is not weighted: 3 and 4.
    SparsityAllocation byBlock = new AlphaPruning(AlphaFit.MID, 0.2, false).allocate(profiles, 0.6);
    double middle = 0.6 * 1000 / (400 * 0.8 + 600 * 1.2);
    assertThat(byBlock.sparsity(0)).isCloseTo(0.8 * middle, within(1e-9));
    assertThat(byBlock.sparsity(1)).isCloseTo(1.2 * middle, within(1e-9));
    assertThat(byBlock.weightedMean()).isCloseTo(0.6, within(1e-12));
  }

  @Test
  void refusesAnEpsilonThatLeavesTheRangeAndNamesOneThatDoesNot() {
    List<LayerProfile> profiles = blocks(LLAMA_7B);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new AlphaPruning(AlphaFit.MID, 0.3, false).allocate(profiles, 0.8))
        .withMessage(
            "Cannot allocate sparsity 0.8 over 32 blocks with --epsilon 0.3: block 21 would get"
                + " 1.0156, outside [0, 1); use a --epsilon below 0.2297");
    // The limit is the exact one: just below it works, just above it does not.
    double tilt =
        Arrays.stream(LLAMA_7B).map(a -> 2 * (a - 2.6086) / (4.2204 - 2.6086) - 1).sum() / 32;
    double limit = 0.2 / (0.8 - tilt);
    assertThat(
            new AlphaPruning(AlphaFit.MID, limit - 1e-6, false)
                .allocate(profiles, 0.8)
                .sparsities())
        .allMatch(s -> s < 1);
    assertThatIllegalArgumentException()
        .isThrownBy(
            () -> new AlphaPruning(AlphaFit.MID, limit + 1e-6, false).allocate(profiles, 0.8));
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.1, 1.01, Double.NaN})
  void refusesAnEpsilonThatNoTargetCanUse(double epsilon) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new AlphaPruning(AlphaFit.PEAK, epsilon, false))
        .withMessageStartingWith("Cannot use --epsilon " + epsilon + ": it must be in [0, 1]");
  }

  @Test
  void treatsBlocksAlikeThatItCannotTellApart() {
    SparsityAllocation allocation =
        new AlphaPruning(AlphaFit.MID, 0.2, false).allocate(blocks(3, 3, 3), 0.7);
    assertThat(allocation.sparsities()).containsExactly(0.7, 0.7, 0.7);
    assertThat(allocation.warnings()).singleElement().asString().contains("blocks apart");
  }

  @Test
  void refusesASpectrumWithoutATail() {
    LinearProfile flat =
        SampleProfiles.shape("model.layers.0.flat", 4, 4)
            .withSpectrum(Spectrum.ofEigenvalues(2, 2, 2, 2));
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new AlphaPruning(AlphaFit.MID, 0.2, false)
                    .allocate(List.of(SampleProfiles.block(0, flat)), 0.7))
        .withMessageContaining("no power law fits the 4 eigenvalues of model.layers.0.flat");
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new AlphaPruning(AlphaFit.MID, 0.2, false)
                    .allocate(
                        List.of(SampleProfiles.block(0, SampleProfiles.shape("a", 4, 4))), 0.7))
        .withMessage("Cannot allocate by alpha: a has no SPECTRA measured");
  }

  /** Of a power law's own quantiles, both fits find its exponent. */
  @ParameterizedTest
  @EnumSource(AlphaFit.class)
  void findsTheExponentOfAPowerLaw(AlphaFit fit) {
    for (double alpha : new double[] {2.2, 3, 4.5}) {
      double[] eigenvalues =
          IntStream.range(0, 4000)
              .mapToDouble(i -> 0.7 * Math.pow(1 - (i + 0.5) / 4000, -1 / (alpha - 1)))
              .toArray();
      assertThat(fit.alpha(Spectrum.ofEigenvalues(eigenvalues)))
          .as("α = %s", alpha)
          .isCloseTo(alpha, within(0.01 * alpha));
    }
  }

  /** A matrix with directions that do nothing has zeros, whose logarithm is none. */
  @ParameterizedTest
  @EnumSource(AlphaFit.class)
  void leavesOutWhatIsOnlyRounding(AlphaFit fit) {
    Random random = new Random(3);
    double[] eigenvalues = random.doubles(200, 0.5, 4).toArray();
    double[] padded = Arrays.copyOf(eigenvalues, 230);
    for (int i = 200; i < 215; i++) {
      padded[i] = 1e-15 * random.nextDouble();
    }
    assertThat(fit.alpha(Spectrum.ofEigenvalues(padded)))
        .isEqualTo(fit.alpha(Spectrum.ofEigenvalues(eigenvalues)))
        .isGreaterThan(1);
  }

  private static List<LayerProfile> blocks(double... alphas) {
    return SampleProfiles.blocks(
        alphas.length,
        i -> SampleProfiles.shape("layer" + i, 100, 100).withSpectrum(spectrum(alphas[i])));
  }

  /** Four eigenvalues whose upper two have α by Hill: 1 + 2 / (ln λ₄ − ln λ₃). */
  private static Spectrum spectrum(double alpha) {
    return Spectrum.ofEigenvalues(0.5, 0.6, 1, Math.exp(2 / (alpha - 1)));
  }
}
