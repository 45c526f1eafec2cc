package ai.owl.benchmark;

import ai.owl.kernel.Attention;
import ai.owl.kernel.Compute;
import ai.owl.kernel.LinearWeights;
import ai.owl.kernel.Operand;
import ai.owl.tensor.Matrix;
import java.util.Arrays;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * What {@code --compute bfloat16} makes faster: linear layers and attention, rounding included. On
 * a processor without bfloat16 products they are those of float32.
 */
public class Bfloat16Benchmark {
  /** A linear layer's weights, and what it reads. */
  @State(Scope.Benchmark)
  public static class Layer {
    @Param public ModelShape shape;
    @Param public LinearBenchmark.Layer layer;
    private Matrix x;
    private Matrix out;
    private LinearWeights weights;
    private final Operand operand = new Operand();

    @Setup
    public void prepare() {
      x = rounded(RandomMatrix.normal(shape.tokens, layer.in(shape), 1, 1));
      Matrix w = rounded(RandomMatrix.normal(layer.out(shape), layer.in(shape), 0.02, 2));
      out = new Matrix(shape.tokens, layer.out(shape));
      Machine.announce();
      weights = LinearWeights.of(w, List.of(layer.out(shape)), Compute.BFLOAT16);
      weights.multiply(operand.of(x), false, out);
      try (Matrix same = weights.matrix()) {
        Expected.linear(x, same, out);
      }
    }

    @TearDown
    public void close() {
      operand.close();
      weights.close();
      x.close();
      out.close();
    }
  }

  /** Cut down to what bfloat16 holds, so that results are as exact as float32's. */
  private static Matrix rounded(Matrix matrix) {
    float[] row = new float[matrix.cols()];
    for (long r = 0; r < matrix.rows(); r++) {
      matrix.row(r, row);
      for (int j = 0; j < row.length; j++) {
        row[j] = Float.intBitsToFloat(Float.floatToRawIntBits(row[j]) & 0xffff0000);
      }
      matrix.setRow(r, row);
    }
    return matrix;
  }

  @Benchmark
  public void linearBfloat16(Layer state, Flops done) {
    state.weights.multiply(state.operand.of(state.x), false, state.out);
    done.flops += 2.0 * state.x.rows() * state.weights.rows() * state.weights.cols();
  }

  /** Queries, keys and values of a sequence. */
  @State(Scope.Benchmark)
  public static class Sequence {
    @Param public ModelShape shape;
    private Attention attention;
    private Matrix q;
    private Matrix k;
    private Matrix v;
    private Attention.Scores scores;
    private Matrix out;

    @Setup
    public void prepare() {
      int d = shape.headDim();
      float scale = (float) (1 / Math.sqrt(d));
      attention = new Attention(shape.heads, shape.heads, d, true, 0, scale, 0);
      q = rounded(RandomMatrix.normal(shape.tokens, shape.hidden, 1, 1));
      k = rounded(RandomMatrix.normal(shape.tokens, shape.hidden, 1, 2));
      v = rounded(RandomMatrix.normal(shape.tokens, shape.hidden, 1, 3));
      scores = Attention.scores(shape.tokens, Compute.BFLOAT16);
      out = new Matrix(shape.tokens, shape.hidden);
      Machine.announce();
      attention.apply(q, k, v, scores, out);
      try (Matrix magnitudes = magnitudes()) {
        check(magnitudes);
      }
    }

    private Matrix magnitudes() {
      Matrix magnitudes = new Matrix(v.rows(), v.cols());
      for (long r = 0; r < v.rows(); r++) {
        float[] row = Expected.row(v, r);
        for (int j = 0; j < row.length; j++) {
          row[j] = Math.abs(row[j]);
        }
        magnitudes.setRow(r, row);
      }
      return magnitudes;
    }

    private void check(Matrix magnitudes) {
      int d = shape.headDim();
      for (int t : Expected.sample(shape.tokens)) {
        for (int head : Expected.sample(shape.heads)) {
          int column = head * d;
          float[] query = Arrays.copyOfRange(Expected.row(q, t), column, column + d);
          double[] expected = Expected.attended(query, k, v, column, t);
          double[] magnitude = Expected.attended(query, k, magnitudes, column, t);
          for (int j = 0; j < d; j++) {
            Expected.close(
                "attention(" + t + ", " + (column + j) + ")",
                expected[j],
                Expected.element(out, t, column + j),
                0x1p-8 * magnitude[j]); // of the weights' rounding
          }
        }
      }
    }

    @TearDown
    public void close() {
      scores.close();
      for (Matrix matrix : new Matrix[] {q, k, v, out}) {
        matrix.close();
      }
    }
  }

  @Benchmark
  public void attentionBfloat16(Sequence state, Flops done) {
    state.attention.apply(state.q, state.k, state.v, state.scores, state.out);
    done.flops += state.shape.attentionFlops();
  }
}
