package ai.owl.pruning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import ai.owl.calibration.Gram;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class SparseGptTest {
  private static final int FEATURES = 40;
  private static final SparsityPattern HALF = new SparsityPattern.Unstructured(0.5);

  /** Doubling all activations scales the Hessian, and so its dampening: nothing else changes. */
  @Test
  void doesNotDependOnTheScaleOfTheActivations() {
    float[][] results = new float[2][];
    for (int i = 0; i < 2; i++) {
      try (Matrix weight = RandomMatrix.of(1, 16, FEATURES);
          Gram gram = gram(100, 1 + i, -1)) {
        new SparseGpt().prune(weight, Optional.of(gram), HALF);
        results[i] = weight.toArray();
      }
    }
    assertThat(results[1]).isEqualTo(results[0]);
  }

  @Test
  void givesUpFeaturesThatAreNeverActive() {
    try (Matrix weight = RandomMatrix.of(1, 16, FEATURES);
        Gram gram = gram(100, 1, 7)) {
      assertThat(new SparseGpt().prune(weight, Optional.of(gram), HALF)).isEmpty();
      float[] row = new float[FEATURES];
      for (int r = 0; r < 16; r++) {
        weight.row(r, row);
        assertThat(row[7]).isZero();
      }
    }
  }

  @Test
  void saysThatItRaisedTheDampening() {
    try (Matrix weight = RandomMatrix.of(1, 16, FEATURES);
        Gram gram = gram(5, 1, -1)) {
      List<String> notes = new SparseGpt(1e-8, 128).prune(weight, Optional.of(shaken(gram)), HALF);
      assertThat(notes)
          .isNotEmpty()
          .first()
          .asString()
          .startsWith("the Hessian is not positive definite at column ")
          .endsWith(" with dampening 1.0E-8: raised to 1.0E-7");
    }
  }

  @Test
  void oneFactorServesAllMatricesOfAnInput() {
    try (Gram gram = gram(5, 1, 7);
        PreparedPruner prepared = new SparseGpt(1e-8, 128).prepare(Optional.of(shaken(gram)))) {
      for (int seed = 1; seed < 4; seed++) {
        try (Matrix one = RandomMatrix.of(seed, 16, FEATURES);
            Matrix same = RandomMatrix.of(seed, 16, FEATURES)) {
          List<String> notes = prepared.prune(one, HALF);
          assertThat(notes)
              .isNotEmpty()
              .isEqualTo(new SparseGpt(1e-8, 128).prune(same, Optional.of(gram), HALF));
          assertThat(one.toArray()).isEqualTo(same.toArray());
        }
      }
    }
  }

  @Test
  void doesNotGoOnWithoutItsHessian() {
    try (Matrix weight = RandomMatrix.of(1, 16, FEATURES);
        Gram gram = gram(5, 1, -1)) {
      float[] before = weight.toArray();
      assertThatIllegalArgumentException()
          .isThrownBy(() -> new SparseGpt(0, 128).prune(weight, Optional.of(shaken(gram)), HALF))
          .withMessageMatching(
              "the Hessian is not positive definite at column \\d+ with --dampening 0.0; give a"
                  + " positive one, or more calibration data");
      assertThat(weight.toArray()).isEqualTo(before);
    }
  }

  @Test
  void refusesActivationsBeyondFloat32() {
    try (Matrix weight = RandomMatrix.of(1, 16, 2);
        Matrix x = Matrix.of(new float[][] {{1e30f, 1f}});
        Gram gram = new Gram(2)) {
      gram.add(x);
      assertThatExceptionOfType(MalformedCheckpointException.class)
          .isThrownBy(() -> new SparseGpt().prune(weight, Optional.of(gram), HALF))
          .withMessageContaining("input feature 0 is Infinity");
    }
  }

  @Test
  void namesWhatIsNotPublished() {
    assertThat(new SparseGpt().label()).isEqualTo("sparsegpt");
    assertThat(new SparseGpt(0.1, 64).label())
        .isEqualTo("sparsegpt dampening=0.1 block-columns=64");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new SparseGpt(-1, 128))
        .withMessageStartingWith("Cannot use --dampening -1.0: ");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new SparseGpt(Double.NaN, 128))
        .withMessageStartingWith("Cannot use --dampening NaN: ");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new SparseGpt(0.01, 0))
        .withMessageStartingWith("Cannot use --block-columns 0: ");
  }

  private static Gram gram(int tokens, float scale, int silent) {
    Gram gram = new Gram(FEATURES);
    try (Matrix x = RandomMatrix.of(5, tokens, FEATURES)) {
      float[] row = new float[FEATURES];
      for (int t = 0; t < tokens; t++) {
        x.row(t, row);
        for (int j = 0; j < FEATURES; j++) {
          row[j] = j == silent ? 0 : row[j] * scale;
        }
        x.setRow(t, row);
      }
      gram.add(x);
    }
    return gram;
  }

  /** With a diagonal that is a little too small, as rounding leaves one. */
  private static Gram shaken(Gram gram) {
    float[] one = new float[1];
    for (int j = 0; j < FEATURES; j++) {
      gram.products().copyTo(j, j, one, 0, 1);
      one[0] *= 1 - 3e-8f * (j % 2 == 0 ? 4 : 0);
      gram.products().copyFrom(j, j, one, 0, 1);
    }
    return gram;
  }
}
