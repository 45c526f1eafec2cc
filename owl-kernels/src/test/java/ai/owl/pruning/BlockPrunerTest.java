package ai.owl.pruning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ColumnNorms;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearInput;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.model.SampleModel;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.io.IOException;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class BlockPrunerTest {
  private final SampleModel sample = new SampleModel();
  private DecoderBlock block;

  @BeforeEach
  void load() throws IOException {
    MemoryStorage storage = new MemoryStorage();
    ModelLayout model = sample.layout(storage);
    try (TensorReader reader = new TensorReader(storage)) {
      block = DecoderBlock.load(model.config(), model.blocks().get(1), reader);
    }
  }

  @AfterEach
  void close() {
    block.close();
  }

  @Test
  void prunesEveryLinearByTheStatisticsOfItsOwnInput() {
    BlockStatistics statistics = statistics();
    List<PrunedLinear> pruned = prune(new Wanda(), statistics, 0.7);
    for (LinearLayer linear : block.layout().linears()) {
      float[] values = sample.values(linear.weight().name());
      int cols = linear.inFeatures();
      try (Matrix expected = RandomMatrix.of(values, values.length / cols, cols)) {
        new MetricPruner(new Wanda())
            .prune(
                expected,
                Optional.of(statistics.at(linear.role().input())),
                new SparsityPattern.Unstructured(0.7));
        assertThat(block.weight(linear).toArray()).isEqualTo(expected.toArray());
      }
    }
    assertThat(pruned)
        .extracting(PrunedLinear::name)
        .containsExactlyElementsOf(
            block.layout().linears().stream().map(LinearLayer::name).toList());
    assertThat(pruned).extracting(PrunedLinear::sparsity).containsOnly(0.7);
    assertThat(pruned.get(0).weights()).isEqualTo(256);
    assertThat(pruned.get(0).zeros()).isEqualTo(16 * 11);
    assertThat(pruned.get(6).weights()).isEqualTo(16 * 24);
    assertThat(pruned.get(6).zeros()).isEqualTo(16 * 16);
  }

  @Test
  void needsNoStatisticsForMagnitude() {
    List<PrunedLinear> pruned = prune(new Magnitude(), new BlockStatistics(), 0.5);
    assertThat(pruned).allMatch(linear -> linear.zeros() == linear.weights() / 2 + 1);
  }

  @Test
  void saysWhichStatisticsAreMissing() {
    assertThatIllegalStateException()
        .isThrownBy(() -> prune(new Wanda(), new BlockStatistics(), 0.5))
        .withMessage("Nothing was observed at ATTENTION");
  }

  /** Zeros that were there before are zeros that are there now. */
  @Test
  void countsAllZeros() {
    LinearLayer linear = block.layout().linears().get(0);
    try (Matrix weight = block.weight(linear)) {
      weight.setRow(3, new float[16]);
      block.replace(linear, weight);
    }
    List<PrunedLinear> pruned = prune(new Wanda(), statistics(), 0);
    assertThat(pruned).extracting(PrunedLinear::zeros).containsExactly(16L, 0L, 0L, 0L, 0L, 0L, 0L);
  }

  private List<PrunedLinear> prune(
      PruningMetric metric, BlockStatistics statistics, double sparsity) {
    return BlockPruner.prune(
        block,
        new MetricPruner(metric),
        statistics,
        Collections.nCopies(7, new SparsityPattern.Unstructured(sparsity)));
  }

  private static BlockStatistics statistics() {
    BlockStatistics statistics = new BlockStatistics();
    for (LinearInput input : LinearInput.values()) {
      double[] sums = new double[input == LinearInput.MLP_OUTPUT ? 24 : 16];
      float[] norms = RandomMatrix.norms(input.ordinal(), sums.length);
      for (int j = 0; j < sums.length; j++) {
        sums[j] = norms[j];
      }
      statistics.put(input, new ColumnNorms(sums));
    }
    return statistics;
  }
}
