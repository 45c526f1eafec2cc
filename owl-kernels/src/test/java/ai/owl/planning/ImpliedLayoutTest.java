package ai.owl.planning;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.BlockLayout;
import ai.owl.model.ModelLayout;
import ai.owl.oracle.Fixture;
import ai.owl.tensor.DType;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A configuration alone must imply the tensors that a checkpoint of it has. */
class ImpliedLayoutTest {
  static Stream<String> models() {
    return Fixture.golden().stream().map(Fixture::toString);
  }

  @ParameterizedTest
  @MethodSource("models")
  void impliesTheTensorsOfTheCheckpoint(String name) throws IOException {
    ModelLayout real =
        ModelLayout.of(Checkpoint.open(new LocalStorage(), Fixture.golden(name).model()));
    ModelLayout implied = ModelLayout.ofShapes(real.config(), DType.F32, "f");
    assertThat(implied.prunableWeights()).isEqualTo(real.prunableWeights());
    assertThat(shapes(implied.outside())).isEqualTo(shapes(real.outside()));
    for (BlockLayout block : real.blocks()) {
      BlockLayout other = implied.blocks().get(block.index());
      assertThat(shapes(other.tensors())).isEqualTo(shapes(block.tensors()));
      assertThat(new BlockCosts(real.config()).weights()).isEqualTo(block.prunableWeights());
    }
  }

  private static Map<String, Long> shapes(List<TensorRef> tensors) {
    Map<String, Long> shapes = new TreeMap<>();
    tensors.forEach(tensor -> shapes.put(tensor.name(), tensor.elements()));
    return shapes;
  }
}
