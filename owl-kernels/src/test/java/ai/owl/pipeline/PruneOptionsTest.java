package ai.owl.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import ai.owl.allocation.Owl;
import ai.owl.allocation.Uniform;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Wanda;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PruneOptionsTest {
  private static final PruneOptions DEFAULTS = PruneOptions.defaults("in", "out");

  @Test
  void defaultsToWhatIsPublishedForLlama7B() {
    assertThat(DEFAULTS)
        .isEqualTo(
            new PruneOptions(
                "in",
                "out",
                0.7,
                new MetricPruner(new Wanda()),
                new Owl(5, 0.08),
                Propagation.SEQUENTIAL,
                false));
  }

  @Test
  void changesOneThingAtATime() {
    assertThat(DEFAULTS.withSparsity(0.5).sparsity()).isEqualTo(0.5);
    assertThat(DEFAULTS.withPruner(new MetricPruner(new Magnitude())).pruner())
        .isEqualTo(new MetricPruner(new Magnitude()));
    assertThat(DEFAULTS.withAllocator(new Uniform()).allocator()).isEqualTo(new Uniform());
    assertThat(DEFAULTS.withPropagation(Propagation.DENSE).propagation())
        .isEqualTo(Propagation.DENSE);
    assertThat(DEFAULTS.withOutput("other").output()).isEqualTo("other");
    assertThat(DEFAULTS.withOverwrite(true).overwrite()).isTrue();
    assertThat(
            DEFAULTS
                .withSparsity(0.5)
                .withPruner(new MetricPruner(new Magnitude()))
                .withAllocator(new Uniform())
                .withPropagation(Propagation.DENSE)
                .withOutput("other")
                .withOverwrite(true))
        .isEqualTo(
            new PruneOptions(
                "in",
                "other",
                0.5,
                new MetricPruner(new Magnitude()),
                new Uniform(),
                Propagation.DENSE,
                true));
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.1, 1, 70, Double.NaN, Double.POSITIVE_INFINITY})
  void refusesASparsityThatIsNoShare(double sparsity) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> DEFAULTS.withSparsity(sparsity))
        .withMessage(
            "Cannot use --sparsity "
                + sparsity
                + ": it is the share of weights to remove and must be in [0, 1)");
  }

  @Test
  void refusesEmptyLocations() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PruneOptions.defaults(" ", "out"))
        .withMessage("Cannot use an empty --model");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PruneOptions.defaults("in", ""))
        .withMessage("Cannot use an empty --output");
  }

  @Test
  void knowsWhichPassesItNeeds() {
    assertPasses(DEFAULTS, true, true);
    assertPasses(DEFAULTS.withPropagation(Propagation.DENSE), true, false);
    PruneOptions uniform = DEFAULTS.withAllocator(new Uniform());
    assertPasses(uniform, false, true);
    assertPasses(uniform.withPropagation(Propagation.DENSE), true, false);
    PruneOptions magnitude = DEFAULTS.withPruner(new MetricPruner(new Magnitude()));
    assertPasses(magnitude, true, false);
    assertPasses(magnitude.withPropagation(Propagation.DENSE), true, false);
    PruneOptions neither = uniform.withPruner(new MetricPruner(new Magnitude()));
    assertPasses(neither, false, false);
    assertPasses(neither.withPropagation(Propagation.DENSE), false, false);
  }

  private static void assertPasses(PruneOptions options, boolean dense, boolean sequential) {
    assertThat(options.needsDensePass()).as("dense pass of %s", options).isEqualTo(dense);
    assertThat(options.needsSequentialPass()).as("%s", options).isEqualTo(sequential);
    assertThat(options.needsCalibration()).as("%s", options).isEqualTo(dense || sequential);
  }

  @Test
  void survivesSerialization() throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(DEFAULTS);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      assertThat(in.readObject()).isEqualTo(DEFAULTS);
    }
  }
}
