package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class LayerProfileTest {
  @Test
  void givesOutlierRatiosInPercent() {
    LayerProfile profile = new LayerProfile(2, 400, new TreeMap<>(Map.of(3.0, 9L, 5.0, 1L)));
    assertThat(profile.outlierRatio(5)).isEqualTo(0.25);
    assertThat(profile.outlierRatio(3)).isEqualTo(2.25);
  }

  @Test
  void saysWhichThresholdsWereCountedAt() {
    LayerProfile profile = new LayerProfile(2, 400, new TreeMap<>(Map.of(3.0, 9L, 5.0, 1L)));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> profile.outlierRatio(4))
        .withMessage(
            "Cannot give the outlier ratio of block 2 at threshold 4.0: counted were [3.0, 5.0]");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new LayerProfile(0, 400, new TreeMap<>()).outlierRatio(5))
        .withMessageEndingWith("counted were []");
  }

  @Test
  void isNotChangedThroughTheMapItWasMadeFrom() {
    TreeMap<Double, Long> outliers = new TreeMap<>(Map.of(3.0, 9L));
    LayerProfile profile = new LayerProfile(0, 400, outliers);
    outliers.put(3.0, 10L);
    assertThat(profile.outliers()).containsEntry(3.0, 9L);
  }
}
