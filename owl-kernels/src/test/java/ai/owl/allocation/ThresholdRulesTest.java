package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.Wanda;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What sets one threshold for the whole model: global and LAMP. */
class ThresholdRulesTest {

  @Test
  void globalTakesTheSmallestWhereverTheyAre() {
    List<LayerProfile> profiles =
        List.of(
            SampleProfiles.block(
                0,
                SampleProfiles.withMagnitudes("a", 1, 2, 3, 4),
                SampleProfiles.withMagnitudes("b", 1.5f, 8, 9, 10)));
    assertThat(all(new Global(Evidence.MAGNITUDES), profiles, 0.5)).containsExactly(0.75, 0.25);
    // Of three equal ones where two must go, each layer loses its share.
    List<LayerProfile> ties =
        List.of(
            SampleProfiles.block(
                0,
                SampleProfiles.withMagnitudes("a", 1, 5, 5, 9),
                SampleProfiles.withMagnitudes("b", 0, 5, 9, 9)));
    assertThat(all(new Global(Evidence.MAGNITUDES), ties, 0.5))
        .containsExactly(new double[] {(1 + 2 * 2 / 3.0) / 4, (1 + 2 / 3.0) / 4}, within(1e-12));
    assertThat(all(new Global(Evidence.MAGNITUDES), ties, 0)).containsOnly(0.0);
  }

  @Test
  void globalLooksAtTheScoresThatItWasToldTo() {
    LinearProfile a =
        SampleProfiles.withMagnitudes("a", 1, 2, 3, 4)
            .withScores(SampleProfiles.histogram(9, 9, 9, 8));
    LinearProfile b =
        SampleProfiles.withMagnitudes("b", 5, 6, 7, 8)
            .withScores(SampleProfiles.histogram(1, 1, 1, 9));
    List<LayerProfile> profiles = List.of(SampleProfiles.block(0, a, b));
    assertThat(all(new Global(Evidence.SCORES), profiles, 0.375)).containsExactly(0, 0.75);
    assertThat(all(new Global(Evidence.MAGNITUDES), profiles, 0.375)).containsExactly(0.75, 0);
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new Global(Evidence.SCORES)
                    .allocate(
                        List.of(SampleProfiles.block(0, SampleProfiles.withMagnitudes("a", 1, 2))),
                        0.5))
        .withMessage("Cannot allocate by global: a has no SCORES measured");
  }

  @Test
  void globalSuitsThePruner() {
    Global global = new Global(Evidence.SCORES);
    assertThat(global.suitedTo(new MetricPruner(new Magnitude())))
        .isEqualTo(new Global(Evidence.MAGNITUDES));
    assertThat(global.suitedTo(new MetricPruner(new Wanda()))).isEqualTo(global);
    assertThat(global.suitedTo(new SparseGpt())).isEqualTo(global);
    assertThat(new Global(Evidence.MAGNITUDES).needsActivations()).isFalse();
    assertThatIllegalArgumentException().isThrownBy(() -> new Global(Evidence.SPECTRA));
  }

  @Test
  void globalRefusesToEmptyALayerAndTellsOfOneThatIsNearlyEmpty() {
    float[] small = new float[1000];
    float[] large = new float[1000];
    Arrays.fill(small, 0.1f);
    Arrays.fill(large, 5f);
    small[0] = 0.3f;
    large[0] = 0.2f;
    List<LayerProfile> profiles =
        List.of(
            SampleProfiles.block(
                0,
                SampleProfiles.withMagnitudes("model.layers.0.small", small),
                SampleProfiles.withMagnitudes("model.layers.0.large", large)));
    assertThat(new Global(Evidence.MAGNITUDES).allocate(profiles, 0.5).warnings())
        .containsExactly(
            "global takes more than 99 % of the weights of 1 of 2 linear layers, most from"
                + " model.layers.0.small: 0.9990");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Global(Evidence.MAGNITUDES).allocate(profiles, 0.6))
        .withMessage(
            "Cannot allocate sparsity 0.6 by global: nothing would be left of"
                + " model.layers.0.small; use a lower --sparsity, or an --allocation with bounds,"
                + " such as owl");
  }

  /**
   * Against the definition: all scores, sorted. The magnitudes have few bits, and many are equal.
   */
  @ParameterizedTest
  @ValueSource(doubles = {0.1, 0.37, 0.5, 0.6, 0.7, 0.8, 0.95})
  void lampRanksByTheShareOfWhatIsNotSmaller(double target) {
    Random random = new Random(11);
    List<LayerProfile> profiles = new ArrayList<>();
    List<float[]> layers = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      float[] weights = new float[200 + 97 * i];
      for (int j = 0; j < weights.length; j++) {
        double value = random.nextGaussian() * Math.exp(0.2 * i * random.nextGaussian());
        weights[j] = Math.round(value * 32) / 32f * (i % 3 + 1); // zeros among them
      }
      layers.add(weights);
      profiles.add(SampleProfiles.block(i, SampleProfiles.withMagnitudes("layer" + i, weights)));
    }
    double[] expected = lamp(layers, target);
    SparsityAllocation allocation = new Lamp().allocate(profiles, target);
    assertThat(SampleProfiles.all(allocation, profiles)).containsExactly(expected, within(1e-12));
    assertThat(allocation.weightedMean()).isCloseTo(target, within(1e-12));
  }

  private static double[] lamp(List<float[]> layers, double target) {
    List<double[]> scores = new ArrayList<>();
    for (float[] layer : layers) {
      double[] squares = new double[layer.length];
      for (int j = 0; j < squares.length; j++) {
        squares[j] = (double) layer[j] * layer[j];
      }
      Arrays.sort(squares);
      double sum = 0;
      for (int j = squares.length - 1; j >= 0; j--) {
        sum += squares[j];
        squares[j] /= sum;
      }
      scores.add(squares);
    }
    double[] all = scores.stream().flatMapToDouble(Arrays::stream).sorted().toArray();
    double goal = target * all.length;
    double threshold = all[(int) Math.ceil(goal) - 1];
    double below = Arrays.stream(all).filter(s -> s < threshold).count();
    double ties = Arrays.stream(all).filter(s -> s == threshold).count();
    double[] sparsities = new double[layers.size()];
    for (int i = 0; i < sparsities.length; i++) {
      double removed = 0;
      for (double score : scores.get(i)) {
        removed += score < threshold ? 1 : score == threshold ? (goal - below) / ties : 0;
      }
      sparsities[i] = removed / scores.get(i).length;
    }
    return sparsities;
  }

  @Test
  void lampLeavesTheLargestOfEveryLayer() {
    List<LayerProfile> profiles =
        List.of(
            SampleProfiles.block(
                0,
                SampleProfiles.withMagnitudes("tiny", 1e-6f, 2e-6f, 3e-6f, 4e-6f),
                SampleProfiles.withMagnitudes("huge", 1e6f, 2e6f, 3e6f, 4e6f)));
    assertThat(all(new Lamp(), profiles, 0.75)).containsExactly(0.75, 0.75);
    assertThat(all(new Lamp(), profiles, 0)).containsOnly(0.0);
    List<LayerProfile> empty =
        List.of(
            SampleProfiles.block(
                0,
                SampleProfiles.withMagnitudes("zeros", 0, 0, 0, 0),
                SampleProfiles.withMagnitudes("others", 1, 2, 3, 4)));
    assertThat(all(new Lamp(), empty, 0.25)).containsExactly(0.5, 0);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Lamp().allocate(empty, 0.5))
        .withMessageContaining("nothing would be left of zeros");
  }

  private static double[] all(
      SparsityAllocator allocator, List<LayerProfile> profiles, double target) {
    return SampleProfiles.all(allocator.allocate(profiles, target), profiles);
  }
}
