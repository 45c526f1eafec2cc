package ai.owl.benchmark;

import ai.owl.kernel.SmallestWeights;
import ai.owl.kernel.WeightScores;
import ai.owl.kernel.WeightedMagnitude;
import ai.owl.tensor.Matrix;
import java.util.Comparator;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** OWL's outlier counts and Wanda's choice, on a down_proj. */
@State(Scope.Benchmark)
public class SelectionBenchmark {
  private static final double SPARSITY = 0.7;
  private static final double[] TIMES_MEAN = {3, 5, 7, 10};

  @Param public ModelShape shape;

  private Matrix original;
  private Matrix weight;
  private float[] norms;
  private int count;

  @Setup
  public void prepare() {
    original = RandomMatrix.normal(shape.hidden, shape.intermediate, 0.02, 1);
    // As in a checkpoint: bfloat16 has few values, so scores of equal norms have equals.
    float[] row = new float[shape.intermediate];
    for (int r = 0; r < shape.hidden; r++) {
      original.row(r, row);
      for (int j = 0; j < row.length; j++) {
        row[j] = Float.intBitsToFloat(Float.floatToRawIntBits(row[j]) & 0xffff0000);
      }
      original.setRow(r, row);
    }
    weight = new Matrix(shape.hidden, shape.intermediate);
    norms = RandomMatrix.norms(shape.intermediate, 2);
    java.util.Arrays.fill(norms, 0, norms.length / 2, 1f);
    count = (int) (shape.intermediate * SPARSITY);
    Machine.announce();
    refill();
    checkOutliers();
    checkSelection();
  }

  /** Every weight, in the float32 arithmetic that the counts are defined in. */
  private void checkOutliers() {
    double sum = 0;
    long[] expected = new long[TIMES_MEAN.length];
    float[] row = new float[shape.intermediate];
    float[] thresholds = thresholds(WeightedMagnitude.sum(weight, norms));
    for (int r = 0; r < shape.hidden; r++) {
      original.row(r, row);
      for (int j = 0; j < row.length; j++) {
        float score = Math.abs(row[j]) * norms[j];
        sum += score;
        for (int t = 0; t < thresholds.length; t++) {
          expected[t] += score > thresholds[t] ? 1 : 0;
        }
      }
    }
    Expected.close("the sum of scores", sum, WeightedMagnitude.sum(weight, norms), 1e-9 * sum);
    long[] counts = new long[TIMES_MEAN.length];
    WeightedMagnitude.countAbove(weight, norms, thresholds, counts);
    for (int t = 0; t < counts.length; t++) {
      Expected.equal("the count above " + thresholds[t], expected[t], counts[t]);
    }
  }

  private float[] thresholds(double sum) {
    float[] thresholds = new float[TIMES_MEAN.length];
    for (int t = 0; t < thresholds.length; t++) {
      thresholds[t] = (float) (TIMES_MEAN[t] * sum / weight.size());
    }
    return thresholds;
  }

  /** A stable sort of each sampled row, as the published code makes one of all. */
  private void checkSelection() {
    SmallestWeights.zeroInRows(weight, WeightScores.weighted(norms), count);
    for (int r : Expected.sample(shape.hidden)) {
      float[] expected = Expected.row(original, r);
      float[] scores = new float[expected.length];
      for (int j = 0; j < scores.length; j++) {
        scores[j] = Math.abs(expected[j]) * norms[j];
      }
      IntStream.range(0, scores.length)
          .boxed()
          .sorted(Comparator.comparingDouble(j -> scores[j]))
          .limit(count)
          .forEach(j -> expected[j] = 0f);
      float[] actual = Expected.row(weight, r);
      for (int j = 0; j < actual.length; j++) {
        Expected.equal("pruned weight " + r + ", " + j, expected[j], actual[j]);
      }
    }
  }

  @Setup(Level.Invocation)
  public void refill() {
    weight.set(original);
  }

  /** The mean score and, against it, the outliers for four thresholds: two scans. */
  @Benchmark
  public long[] outliers(Weights done) {
    long[] counts = new long[TIMES_MEAN.length];
    double sum = WeightedMagnitude.sum(weight, norms);
    WeightedMagnitude.countAbove(weight, norms, thresholds(sum), counts);
    done.weights += weight.size();
    return counts;
  }

  @Benchmark
  public void wanda(Weights done) {
    SmallestWeights.zeroInRows(weight, WeightScores.weighted(norms), count);
    done.weights += weight.size();
  }

  @TearDown
  public void close() {
    original.close();
    weight.close();
  }
}
