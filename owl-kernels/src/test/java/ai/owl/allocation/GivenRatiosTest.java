package ai.owl.allocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import ai.owl.checkpoint.MemoryStorage;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.assertj.core.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class GivenRatiosTest {
  private static final List<LayerProfile> MODEL =
      List.of(
          SampleProfiles.block(
              0,
              SampleProfiles.shape("model.layers.0.q", 10, 10),
              SampleProfiles.shape("model.layers.0.up", 10, 30)),
          SampleProfiles.block(
              1,
              SampleProfiles.shape("model.layers.1.q", 10, 10),
              SampleProfiles.shape("model.layers.1.up", 10, 30)));

  private final MemoryStorage storage = new MemoryStorage();

  @ParameterizedTest
  @ValueSource(
      strings = {
        "[0.6, 0.8]",
        " \n[6e-1,\n0.8] ",
        "{\"0\": 0.6, \"1\": 0.8}",
        "0.6\n0.8\n",
        "\n0.6\r\n\n 0.8"
      })
  void readsOneABlock(String content) throws IOException {
    SparsityAllocation allocation = read(content).allocate(MODEL, 0.7);
    assertThat(allocation.sparsities()).containsExactly(0.6, 0.8);
    assertThat(allocation.sparsity(1, 0)).isEqualTo(0.8);
    assertThat(allocation.warnings())
        .containsExactly(
            "the mean of the 2 ratios of /lists/mine is 0.700000, weighted by size 0.700000");
  }

  @Test
  void readsOneALinearLayerWithTheBlockForTheRest() throws IOException {
    GivenRatios ratios =
        read("{\"0\": 0.6, \"model.layers.0.q\": 0.2, \"1\": 0.7, \"model.layers.1.up\": 0.9}");
    double mean = (0.2 * 100 + 0.6 * 300 + 0.7 * 100 + 0.9 * 300) / 800;
    assertThat(ratios.mean(MODEL)).isCloseTo(mean, within(1e-12));
    SparsityAllocation allocation = ratios.allocate(MODEL, mean);
    assertThat(SampleProfiles.all(allocation, MODEL)).containsExactly(0.2, 0.6, 0.7, 0.9);
    assertThat(allocation.weightedMean()).isCloseTo(mean, within(1e-12));
  }

  @Test
  void refusesAMeanThatMissesTheTarget() throws IOException {
    GivenRatios ratios = read("[0.6, 0.8]");
    assertThat(ratios.allocate(MODEL, 0.7009).weightedMean()).isCloseTo(0.7, within(1e-12));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ratios.allocate(MODEL, 0.5))
        .withMessage(
            "Cannot use the ratios of /lists/mine for sparsity 0.5: their mean is 0.7000, weighted"
                + " by size 0.7000; leave --sparsity out, or give 0.7000; an N:M --pattern"
                + " wants ratios of its own mean");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ratios.allocate(MODEL, 0.3))
        .withMessageContaining("(are they what stays? the share that goes is asked for)");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "[0.6]|there is none for block 1 (model.layers.1.q)",
        "[0.6, 0.7, 0.8]|the model has no '2'",
        "{\"0\": 0.6, \"model.layers.1.q\": 0.7}|there is none for block 1 (model.layers.1.up)",
        "{\"0\": 0.6, \"1\": 0.7, \"model.layers.1.k\": 0.7}|the model has no 'model.layers.1.k'",
      })
  void refusesAListThatDoesNotFitTheModel(String content, String why) throws IOException {
    GivenRatios ratios = read(content);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ratios.allocate(MODEL, 0.7))
        .withMessageStartingWith("Cannot use the ")
        .withMessageContaining(" ratios of /lists/mine for a model of 2 blocks: " + why)
        .withMessageEndingWith("for each block 0..1 or for each linear layer by its name");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "[0.6, 1]|that of 1 is 1.0; the share of weights to remove must be in [0, 1)",
        "[0.6, -0.1]|that of 1 is -0.1; the share of weights to remove must be in [0, 1)",
        "[0.6, \"0.8\"]|that of 1 is no number but \"0.8\"",
        "[0.6, null]|that of 1 is no number but null",
        "{\"0\": [0.6]}|that of 0 is no number but [0.6]",
        "[]|there are none",
        "{}|there are none",
        "~~|there are none",
        "0.5;0.6|line 1 is no number but '0.5;0.6'",
        "nan|line 1 is no number but 'nan'",
        "NaN|that of 0 is NaN",
        "[0.6, 0.8|it is no JSON",
        "[0.6, 0.8] 3|it is no JSON",
        "{\"0\": 0.6, \"0\": 0.8}|it is no JSON",
      })
  void refusesWhatIsNoListOfRatios(String content, String why) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> read(content))
        .withMessageStartingWith("Cannot use the ratios of /lists/mine: " + why);
  }

  @Test
  void saysWhichFileIsNotThere() {
    Assertions.assertThatExceptionOfType(FileNotFoundException.class)
        .isThrownBy(() -> GivenRatios.read(storage, "/lists/none"))
        .withMessageContaining("/lists/none");
  }

  private GivenRatios read(String content) throws IOException {
    storage.writeAll("/lists/mine", content.getBytes(StandardCharsets.UTF_8));
    return GivenRatios.read(storage, "/lists/mine");
  }
}
