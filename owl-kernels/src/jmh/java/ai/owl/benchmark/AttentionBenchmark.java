package ai.owl.benchmark;

import ai.owl.kernel.Attention;
import ai.owl.tensor.Matrix;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** Causal attention of a sequence to itself, softmax included, all heads. */
@State(Scope.Benchmark)
public class AttentionBenchmark {
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
    attention = new Attention(shape.heads, shape.heads, d, true, 0, (float) (1 / Math.sqrt(d)), 0);
    q = RandomMatrix.normal(shape.tokens, shape.hidden, 1, 1);
    k = RandomMatrix.normal(shape.tokens, shape.hidden, 1, 2);
    v = RandomMatrix.normal(shape.tokens, shape.hidden, 1, 3);
    scores = Attention.scores(shape.tokens);
    out = new Matrix(shape.tokens, shape.hidden);
    Machine.announce();
    attention.apply(q, k, v, scores, out);
    for (int t : Expected.sample(shape.tokens)) {
      for (int head : Expected.sample(shape.heads)) {
        int column = head * d;
        float[] query = Arrays.copyOfRange(Expected.row(q, t), column, column + d);
        double[] expected = Expected.attended(query, k, v, column, t);
        for (int j = 0; j < d; j++) {
          Expected.close(
              "attention(" + t + ", " + (column + j) + ")",
              expected[j],
              Expected.element(out, t, column + j),
              1e-5);
        }
      }
    }
  }

  @Benchmark
  public void attention(Flops done) {
    attention.apply(q, k, v, scores, out);
    done.flops += shape.attentionFlops();
  }

  @TearDown
  public void close() {
    scores.close();
    for (Matrix matrix : new Matrix[] {q, k, v, out}) {
      matrix.close();
    }
  }
}
