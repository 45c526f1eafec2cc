package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class UniformTest {
  @Test
  void givesEveryBlockTheTargetWhateverItsSize() {
    SparsityAllocation allocation =
        new Uniform()
            .allocate(
                List.of(
                    new LayerProfile(0, 100, new TreeMap<>()),
                    new LayerProfile(1, 300, new TreeMap<>())),
                0.3);
    assertThat(allocation.sparsities()).containsExactly(0.3, 0.3);
    assertThat(allocation.weights()).containsExactly(100L, 300L);
    assertThat(allocation.warnings()).isEmpty();
  }
}
