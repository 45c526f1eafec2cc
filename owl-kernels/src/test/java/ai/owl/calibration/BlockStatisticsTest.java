package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.model.LinearInput;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BlockStatisticsTest {
  private static final LinearInput INPUT = LinearInput.ATTENTION_OUTPUT;

  @Test
  void gathersWhatItSeesByInput() {
    BlockStatistics statistics = new BlockStatistics();
    observe(statistics, LinearInput.MLP, 1f, 2f);
    observe(statistics, LinearInput.MLP_OUTPUT, 3f);
    observe(statistics, LinearInput.MLP, 3f, 4f);
    assertThat(statistics.inputs()).containsExactly(LinearInput.MLP, LinearInput.MLP_OUTPUT);
    assertThat(sums(statistics, LinearInput.MLP)).containsExactly(10, 20);
    assertThat(sums(statistics, LinearInput.MLP_OUTPUT)).containsExactly(9);
  }

  @Test
  void saysAtWhichInputNothingWasSeen() {
    assertThatIllegalStateException()
        .isThrownBy(() -> new BlockStatistics().at(LinearInput.MLP))
        .withMessage("Nothing was observed at MLP");
  }

  @Test
  void mergesInTheOrderOfTheCalls() {
    double[][] slices = {{1e16, 1}, {1, 1e16}, {1, 1}, {-1e16, 3}};
    BlockStatistics merged = new BlockStatistics();
    double[] expected = new double[2];
    for (double[] slice : slices) {
      BlockStatistics part = new BlockStatistics();
      part.put(INPUT, new ColumnNorms(slice.clone()));
      merged.merge(part);
      expected[0] += slice[0];
      expected[1] += slice[1];
      assertThat(sums(part, INPUT)).isEqualTo(slice);
    }
    assertThat(sums(merged, INPUT)).isEqualTo(expected);
  }

  @Test
  void mergesInputsThatOnlyTheOtherHas() {
    BlockStatistics one = new BlockStatistics();
    observe(one, LinearInput.MLP, 2f);
    BlockStatistics other = new BlockStatistics();
    observe(other, INPUT, 3f, 4f);
    one.merge(other);
    observe(other, INPUT, 100f, 100f); // no longer anything to one
    assertThat(sums(one, LinearInput.MLP)).containsExactly(4);
    assertThat(sums(one, INPUT)).containsExactly(9, 16);
    assertThat(other.inputs()).containsExactly(INPUT);
  }

  /** What makes results independent of partitions: slices are added up alone, then in order. */
  @Test
  void givesTheSameForSlicesGatheredAnywhere() {
    BlockStatistics here = new BlockStatistics();
    BlockStatistics elsewhere = new BlockStatistics();
    for (int s = 0; s < 5; s++) {
      BlockStatistics slice = new BlockStatistics();
      BlockStatistics again = new BlockStatistics();
      try (Matrix x = RandomMatrix.of(s, 31, 8)) {
        slice.observe(INPUT, x);
        again.observe(INPUT, x);
      }
      here.merge(slice);
      elsewhere.merge(again);
    }
    assertThat(sums(here, INPUT)).isEqualTo(sums(elsewhere, INPUT));
  }

  @Test
  void acceptsSumsThatFloat32CanHold() {
    BlockStatistics statistics = new BlockStatistics();
    statistics.put(INPUT, new ColumnNorms(new double[] {0, Float.MAX_VALUE, 1e-300}));
    statistics.requireFinite(3);
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, Double.POSITIVE_INFINITY, 3.5e38})
  void refusesSumsThatAreNotFinite(double sum) {
    BlockStatistics statistics = new BlockStatistics();
    statistics.put(LinearInput.MLP, new ColumnNorms(new double[] {1, 2}));
    statistics.put(INPUT, new ColumnNorms(new double[] {1, 2, sum}));
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> statistics.requireFinite(3))
        .withMessage(
            "Cannot use the activations of block 3: the squared norm of feature 2 at the"
                + " attention output input is "
                + sum
                + "; the checkpoint overflows float32, or is damaged");
  }

  @Test
  void survivesSerialization() throws Exception {
    BlockStatistics statistics = new BlockStatistics();
    observe(statistics, INPUT, 3f, 4f);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(statistics);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      assertThat(sums((BlockStatistics) in.readObject(), INPUT)).containsExactly(9, 16);
    }
  }

  private static void observe(BlockStatistics statistics, LinearInput input, float... row) {
    try (Matrix x = Matrix.of(new float[][] {row})) {
      statistics.observe(input, x);
    }
  }

  private static double[] sums(BlockStatistics statistics, LinearInput input) {
    return statistics.at(input).sumsOfSquares();
  }
}
