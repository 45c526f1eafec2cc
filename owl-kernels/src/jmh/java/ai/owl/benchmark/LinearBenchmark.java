package ai.owl.benchmark;

import ai.owl.kernel.Blas;
import ai.owl.tensor.Matrix;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** The product of a linear layer, in the three shapes that a block has. */
@State(Scope.Benchmark)
public class LinearBenchmark {
  /** Which of a block's layers. */
  public enum Layer {
    /** q_proj, k_proj, v_proj and o_proj. */
    ATTENTION,
    /** gate_proj and up_proj. */
    GATE,
    /** down_proj. */
    DOWN;

    int in(ModelShape shape) {
      return this == DOWN ? shape.intermediate : shape.hidden;
    }

    int out(ModelShape shape) {
      return this == GATE ? shape.intermediate : shape.hidden;
    }
  }

  @Param public ModelShape shape;
  @Param public Layer layer;

  private Matrix x;
  private Matrix w;
  private Matrix out;

  @Setup
  public void prepare() {
    x = RandomMatrix.normal(shape.tokens, layer.in(shape), 1, 1);
    w = RandomMatrix.normal(layer.out(shape), layer.in(shape), 0.02, 2);
    out = new Matrix(shape.tokens, layer.out(shape));
    Machine.announce();
    Blas.linear(x, w, 0f, out);
    Expected.linear(x, w, out);
  }

  @Benchmark
  public void linear(Flops done) {
    Blas.linear(x, w, 0f, out);
    done.flops += 2.0 * x.rows() * w.size();
  }

  @TearDown
  public void close() {
    x.close();
    w.close();
    out.close();
  }
}
