package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class UniformTest {
  @Test
  void givesEveryBlockTheTargetWhateverItsSize() {
    SparsityAllocation allocation =
        new Uniform()
            .allocate(List.of(LayerProfile.ofSize(0, 100), LayerProfile.ofSize(1, 300)), 0.3);
    assertThat(allocation.sparsities()).containsExactly(0.3, 0.3);
    assertThat(allocation.weights()).containsExactly(100L, 300L);
    assertThat(allocation.warnings()).isEmpty();
  }
}
