package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GramTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 7, 31, 512, 600})
  void sumsTheProductsOfAllPairsOfFeatures(int features) {
    try (Matrix a = RandomMatrix.of(1, 9, features);
        Matrix b = RandomMatrix.of(2, 4, features);
        Gram gram = new Gram(features)) {
      gram.add(a);
      gram.add(b);
      assertThat(gram.sequences()).isEqualTo(2);
      float[] x = a.toArray();
      float[] y = b.toArray();
      float[] found = gram.products().toArray();
      for (int i = 0; i < features; i++) {
        for (int j = i; j < features; j++) {
          double truth = 0;
          for (int t = 0; t < 9; t++) {
            truth += (double) x[t * features + i] * x[t * features + j];
          }
          for (int t = 0; t < 4; t++) {
            truth += (double) y[t * features + i] * y[t * features + j];
          }
          assertThat((double) found[i * features + j]).isCloseTo(truth, within(1e-5));
        }
        assertThat(gram.diagonal()[i]).isEqualTo(found[i * features + i]);
      }
    }
  }

  /** What Spark sends is what merging in one process adds, bit for bit. */
  @Test
  void addsRowByRowWhatMergeAdds() {
    int features = 37;
    try (Gram first = random(1, features);
        Gram second = random(2, features);
        Gram merged = new Gram(features);
        Gram added = new Gram(features)) {
      merged.merge(first);
      merged.merge(second);
      for (int row = 0; row < features; row += 5) {
        int rows = Math.min(5, features - row);
        added.addRows(row, rows, first.rows(row, rows));
        added.addRows(row, rows, second.rows(row, rows));
      }
      added.addSequences(2);
      assertThat(added.sequences()).isEqualTo(merged.sequences()).isEqualTo(2);
      for (int row = 0; row < features; row++) {
        assertThat(added.rows(row, 1)).isEqualTo(merged.rows(row, 1));
      }
    }
  }

  @Test
  void refusesToMergeOtherFeatures() {
    try (Gram three = new Gram(3);
        Gram four = new Gram(4)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> three.merge(four))
          .withMessage("Cannot merge a Gram matrix of 4 features into one of 3");
    }
  }

  private static Gram random(long seed, int features) {
    Gram gram = new Gram(features);
    try (Matrix x = RandomMatrix.of(seed, 50, features)) {
      gram.add(x);
    }
    return gram;
  }
}
