package ai.owl.planning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.model.BlockLayout;
import ai.owl.model.ModelLayout;
import org.junit.jupiter.api.Test;

/** Against numbers worked out by hand. */
class BlockCostsTest {
  private static BlockCosts of(ModelLayout layout) {
    return new BlockCosts(layout.config());
  }

  @Test
  void llama7b() {
    BlockCosts costs = of(PlannedModels.llama7b());
    // 4 · 4096² + 3 · 4096 · 11008
    assertThat(costs.weights()).isEqualTo(202_375_168);
    assertThat(costs.linearFlops(2048)).isEqualTo(828_928_688_128.0);
    // without down_proj: 202 375 168 - 4096 · 11008 = 157 286 400
    assertThat(costs.observedLinearFlops(2048)).isEqualTo(2.0 * 157_286_400 * 2048);
    // 4 · 32 · 128 · 2048 · 2049 / 2
    assertThat(costs.attentionFlops(0, 2048)).isEqualTo(34_376_515_584.0);
    // (2 · 4096 + 2 · 4096 + 11008) · 2048
    assertThat(costs.elementwiseValues(2048)).isEqualTo(27_392.0 * 2048);
    // (3 · 4096 + 11008) · 2048
    assertThat(costs.observedValues(2048)).isEqualTo(23_296.0 * 2048);
    // 4 · (3 · 4096² + 11008²)
    assertThat(costs.gramBytes()).isEqualTo(4L * (50_331_648 + 121_176_064));
    // the inputs of q, k, v, of o, of gate, up: 4096, and of down: 11008; 2 · n · (n + 1) each
    assertThat(costs.gramBytesSent()).isEqualTo(3L * 2 * 4096 * 4097 + 2L * 11008 * 11009);
    assertThat(costs.hiddenBytes(2048)).isEqualTo(32L << 20);
  }

  @Test
  void llama65b() {
    BlockCosts costs = of(PlannedModels.llama65b());
    // 4 · 8192² + 3 · 8192 · 22016
    assertThat(costs.weights()).isEqualTo(809_500_672);
    assertThat(costs.linearFlops(2048)).isEqualTo(3_315_714_752_512.0);
    assertThat(costs.attentionFlops(0, 2048)).isEqualTo(68_753_031_168.0);
    assertThat(costs.gramFlops(2048)).isEqualTo((3.0 * 8192 * 8192 + 22016.0 * 22016) * 2048);
    assertThat(costs.hiddenBytes(2048)).isEqualTo(64L << 20);
    assertThat(costs.statisticsBytes()).isEqualTo(8L * (3 * 8192 + 22016));
  }

  @Test
  void groupedQueriesHaveNarrowKeysAndValues() {
    BlockCosts costs = of(PlannedModels.llama70b());
    // q and o 8192², k and v 1024 · 8192, three of 8192 · 28672
    assertThat(costs.weights()).isEqualTo(2L * 8192 * 8192 + 2L * 1024 * 8192 + 3L * 8192 * 28672);
    // Scores are as many as heads, not groups.
    assertThat(costs.attentionFlops(0, 2048)).isEqualTo(68_753_031_168.0);
    assertThat(costs.elementwiseValues(1)).isEqualTo(2 * 8192 + 8192 + 1024 + 28672);
  }

  @Test
  void withoutAGateThereAreTwoLayers() {
    BlockCosts costs = of(PlannedModels.opt125m());
    assertThat(costs.weights()).isEqualTo(4L * 768 * 768 + 2L * 768 * 3072);
  }

  @Test
  void countsTheWeightsOfALayout() {
    for (ModelLayout layout :
        new ModelLayout[] {PlannedModels.llama7b(), PlannedModels.opt125m()}) {
      for (BlockLayout block : layout.blocks()) {
        assertThat(of(layout).weights()).isEqualTo(block.prunableWeights());
      }
    }
  }

  @Test
  void narrowedShapesCostBySquare() {
    ModelLayout layout = PlannedModels.llama65b();
    BlockCosts narrow = new BlockCosts(layout.config().narrowed(4, 100));
    assertThat(narrow.weights()).isCloseTo(of(layout).weights() / 16, within(0L));
    assertThat(layout.config().isNarrowedBy(128)).isFalse(); // 64 heads
  }
}
