package ai.owl.spark.cli;

import static ai.owl.kernel.RowCode.Group.COMPENSATION;
import static ai.owl.kernel.RowCode.Group.FORWARD;
import static ai.owl.kernel.RowCode.Group.SELECTION;
import static ai.owl.kernel.RowCode.Group.SPARSE;
import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.allocation.Owl;
import ai.owl.allocation.Rounding;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.kernel.RowCode;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a process compiles before it is needed. */
class PruneCommandTest {
  private static final Pruner WANDA = new MetricPruner(new Wanda());
  private static final Pruner MAGNITUDE = new MetricPruner(new Magnitude());

  private static List<RowCode.Group> code(
      Pruner pruner, SparsityAllocator allocator, Propagation propagation, boolean evaluates) {
    return PruneCommand.code(
        new PruneOptions(
            "model",
            "output",
            new SparsityPattern.Unstructured(0.7),
            pruner,
            allocator,
            Rounding.MEAN_PRESERVING,
            propagation,
            false),
        evaluates);
  }

  @Test
  void sequencesRunThroughPrunedBlocksInSequentialPropagationAndInEvaluation() {
    Owl owl = new Owl(5, 0.08);
    assertThat(code(WANDA, owl, Propagation.SEQUENTIAL, false))
        .containsExactly(FORWARD, SELECTION, SPARSE);
    assertThat(code(WANDA, owl, Propagation.DENSE, false)).containsExactly(FORWARD, SELECTION);
    assertThat(code(WANDA, owl, Propagation.DENSE, true))
        .containsExactly(FORWARD, SELECTION, SPARSE);
    assertThat(code(new SparseGpt(), owl, Propagation.SEQUENTIAL, false))
        .containsExactly(FORWARD, SELECTION, COMPENSATION, SPARSE);
  }

  @Test
  void magnitudesAloneNeedNoPass() {
    assertThat(code(MAGNITUDE, new Uniform(), Propagation.SEQUENTIAL, false))
        .containsExactly(SELECTION);
  }

  @Test
  void sweepsPrepareForEachOfTheirPruners() {
    assertThat(SweepCommand.code(List.of(MAGNITUDE, WANDA)))
        .containsExactly(FORWARD, SELECTION, SPARSE);
    assertThat(SweepCommand.code(List.of(WANDA, new SparseGpt())))
        .containsExactly(FORWARD, SELECTION, COMPENSATION, SPARSE);
  }
}
