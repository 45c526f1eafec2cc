package ai.owl.benchmark;

import ai.owl.kernel.Activation;
import ai.owl.kernel.ColumnSquares;
import ai.owl.kernel.RmsNorm;
import ai.owl.kernel.RotaryEmbedding;
import ai.owl.tensor.Matrix;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** What a block does between its products, and what statistics cost: bound by memory at best. */
public class ElementwiseBenchmark {
  /** Sums of squares of the features that enter down_proj. */
  @State(Scope.Benchmark)
  public static class Squares {
    @Param public ModelShape shape;
    private Matrix x;
    private double[] sums;

    @Setup
    public void prepare() {
      x = RandomMatrix.normal(shape.tokens, shape.intermediate, 1, 1);
      sums = new double[x.cols()];
      Machine.announce();
      ColumnSquares.add(x, sums);
      for (int j : Expected.sample(x.cols())) {
        float[] column = Expected.column(x, j);
        Expected.close(
            "squares of column " + j, Expected.Dot.of(column, column).sum(), sums[j], 1e-6);
      }
    }

    @TearDown
    public void close() {
      x.close();
    }
  }

  @Benchmark
  public void columnSquares(Squares state, Bytes done) {
    ColumnSquares.add(state.x, state.sums);
    done.bytes += 4.0 * state.x.size();
  }

  /** Hidden states on their way into a linear layer. */
  @State(Scope.Benchmark)
  public static class Norm {
    private static final float EPSILON = 1e-6f;
    @Param public ModelShape shape;
    private Matrix x;
    private float[] gain;
    private Matrix out;

    @Setup
    public void prepare() {
      x = RandomMatrix.normal(shape.tokens, shape.hidden, 1, 1);
      gain = RandomMatrix.norms(shape.hidden, 2);
      out = new Matrix(shape.tokens, shape.hidden);
      Machine.announce();
      RmsNorm.apply(x, gain, EPSILON, out);
      for (int t : Expected.sample(shape.tokens)) {
        double[] expected = Expected.normalized(Expected.row(x, t), gain, EPSILON);
        for (int j = 0; j < expected.length; j++) {
          Expected.close("norm " + t + ", " + j, expected[j], Expected.element(out, t, j));
        }
      }
    }

    @TearDown
    public void close() {
      x.close();
      out.close();
    }
  }

  @Benchmark
  public void rmsNorm(Norm state, Bytes done) {
    RmsNorm.apply(state.x, state.gain, Norm.EPSILON, state.out);
    done.bytes += 8.0 * state.x.size();
  }

  /** The gate of a feed-forward part. */
  @State(Scope.Benchmark)
  public static class Gate {
    @Param public ModelShape shape;
    private Matrix original;
    private Matrix gate;
    private Matrix up;

    @Setup
    public void prepare() {
      original = RandomMatrix.normal(shape.tokens, shape.intermediate, 3, 1);
      gate = new Matrix(shape.tokens, shape.intermediate);
      up = RandomMatrix.normal(shape.tokens, shape.intermediate, 3, 2);
      Machine.announce();
      refill();
      Activation.SILU.gate(gate, up);
      for (int t : Expected.sample(shape.tokens)) {
        float[] g = Expected.row(original, t);
        float[] u = Expected.row(up, t);
        for (int j = 0; j < g.length; j++) {
          Expected.close(
              "silu(" + g[j] + ") · " + u[j],
              Expected.silu(g[j]) * u[j],
              Expected.element(gate, t, j));
        }
      }
    }

    /** Gated again and again, elements would become too small to be normal numbers. */
    @Setup(Level.Invocation)
    public void refill() {
      gate.set(original);
    }

    @TearDown
    public void close() {
      original.close();
      gate.close();
      up.close();
    }
  }

  @Benchmark
  public void siluGate(Gate state, Bytes done) {
    Activation.SILU.gate(state.gate, state.up);
    done.bytes += 12.0 * state.gate.size();
  }

  /** Queries, or keys, of all heads. */
  @State(Scope.Benchmark)
  public static class Rotation {
    @Param public ModelShape shape;
    private Matrix x;
    private RotaryEmbedding.Table table;

    @Setup
    public void prepare() {
      int d = shape.headDim();
      x = RandomMatrix.normal(shape.tokens, shape.hidden, 1, 1);
      table = new RotaryEmbedding(10000, d, new RotaryEmbedding.Unscaled()).table(shape.tokens);
      Machine.announce();
      float[][] before = new float[shape.tokens][];
      for (int t : Expected.sample(shape.tokens)) {
        before[t] = Expected.row(x, t);
      }
      table.rotate(x);
      for (int t : Expected.sample(shape.tokens)) {
        for (int column = 0; column < shape.hidden; column += d) {
          float[] expected = Expected.rotated(Arrays.copyOfRange(before[t], column, column + d), t);
          for (int j = 0; j < d; j++) {
            // As published, angles are float32: at position 2047 they are off by 1e-4.
            Expected.close(
                "rotated " + t + ", " + (column + j),
                expected[j],
                Expected.element(x, t, column + j),
                1e-3);
          }
        }
      }
    }

    @TearDown
    public void close() {
      x.close();
    }
  }

  @Benchmark
  public void rotate(Rotation state, Bytes done) {
    state.table.rotate(state.x);
    done.bytes += 8.0 * state.x.size();
  }
}
