package ai.owl.planning;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.pipeline.PruneOptions;
import ai.owl.tensor.DType;
import java.io.IOException;
import org.junit.jupiter.api.Test;

class RateMeasurementTest {
  @Test
  void measuresAnyArchitecture() throws IOException {
    MachineRates rates =
        RateMeasurement.measure(
            PlannedModels.opt125m().config(),
            DType.BF16,
            PruneOptions.defaults("in", "out"),
            64,
            1,
            RateMeasurement.StorageRates.assumed());
    // Whatever runs this does between a tenth of a Gflop and ten Tflops a second in a core.
    assertThat(rates.linearFlops()).isBetween(1e8, 1e13);
    assertThat(rates.prunedLinearFlops()).isBetween(1e8, 1e13);
    assertThat(rates.selectedWeights()).isBetween(1e5, 1e11);
    assertThat(rates.readBytes()).isEqualTo(200e6);
    assertThat(rates.source())
        .startsWith("measured here on 1 of ")
        .contains(", in float32, pruned at 70.0 %");
    assertThat(MachineRates.of(rates.toJson(), "test")).isEqualTo(rates);
  }
}
