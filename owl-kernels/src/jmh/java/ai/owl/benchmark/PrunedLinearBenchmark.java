package ai.owl.benchmark;

import ai.owl.kernel.Compute;
import ai.owl.kernel.LinearWeights;
import ai.owl.kernel.Operand;
import ai.owl.tensor.Matrix;
import java.util.List;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * The product of gate_proj once it is pruned, as this process holds pruned weights. Operations are
 * those of the dense product, so that rates stand beside that of {@code linear GATE}; {@code
 * -Dowl.sparse.limit=0} makes it that product.
 */
@State(Scope.Benchmark)
public class PrunedLinearBenchmark {
  @Param public ModelShape shape;

  /** Percent of the weights. */
  @Param({"50", "70", "80"})
  public int zeros;

  private Matrix x;
  private Matrix out;
  private LinearWeights weights;
  private final Operand operand = new Operand();

  @Setup
  public void prepare() {
    LinearBenchmark.Layer layer = LinearBenchmark.Layer.GATE;
    x = RandomMatrix.normal(shape.tokens, layer.in(shape), 1, 1);
    Matrix w = RandomMatrix.normal(layer.out(shape), layer.in(shape), 0.02, 2);
    prune(w);
    out = new Matrix(shape.tokens, layer.out(shape));
    Machine.announce();
    weights = LinearWeights.of(w, List.of(layer.out(shape)), Compute.FLOAT32);
    weights.multiply(operand.of(x), false, out);
    try (Matrix dense = weights.matrix()) {
      Expected.linear(x, dense, out);
    }
  }

  private void prune(Matrix w) {
    SplittableRandom random = new SplittableRandom(3);
    float[] row = new float[w.cols()];
    for (long r = 0; r < w.rows(); r++) {
      w.row(r, row);
      for (int j = 0; j < row.length; j++) {
        row[j] = random.nextInt(100) < zeros ? 0f : row[j];
      }
      w.setRow(r, row);
    }
  }

  /** With an input that no other layer has read before. */
  @Benchmark
  public void pruned(Flops done) {
    weights.multiply(operand.of(x), false, out);
    done.flops += 2.0 * x.rows() * weights.rows() * weights.cols();
  }

  @TearDown
  public void close() {
    x.close();
    out.close();
    weights.close();
    operand.close();
  }
}
