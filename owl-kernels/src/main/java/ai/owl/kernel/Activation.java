package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.List;

/** The activation functions of feed-forward parts, under the names that configurations use. */
public enum Activation {
  /** {@code x / (1 + e^-x)}. */
  SILU("silu", "swish") {
    @Override
    void apply(float[] x) {
      RowCode.forward().silu(x, 0, x.length);
    }
  },

  /** {@code max(x, 0)}. */
  RELU("relu") {
    @Override
    void apply(float[] x) {
      for (int j = 0; j < x.length; j++) {
        x[j] = Math.max(x[j], 0f);
      }
    }
  },

  /**
   * {@code x · Φ(x)}, where Φ is the distribution function of the standard normal (arXiv
   * 1606.08415).
   */
  GELU("gelu") {
    @Override
    void apply(float[] x) {
      for (int j = 0; j < x.length; j++) {
        x[j] = (float) (x[j] * NormalDistribution.below(x[j]));
      }
    }
  },

  /** {@code x/2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 x³)))}, an approximation of {@link #GELU}. */
  GELU_TANH("gelu_pytorch_tanh", "gelu_new") {
    @Override
    void apply(float[] x) {
      RowCode.gelu().geluTanh(x, 0, x.length);
    }
  };

  private final List<String> names;

  Activation(String... names) {
    this.names = List.of(names);
  }

  /** What configurations call it. */
  public List<String> names() {
    return names;
  }

  abstract void apply(float[] x);

  /**
   * Applies it to every element.
   *
   * @param x (tokens, intermediate), replaced by the result
   */
  public void apply(Matrix x) {
    RowChunks.forEach(
        x,
        (chunk, from, to) -> {
          float[] row = new float[x.cols()];
          for (long r = from; r < to; r++) {
            x.row(r, row);
            apply(row);
            x.setRow(r, row);
          }
        });
  }

  /**
   * Applies it to a gate, and the gate to what passes (arXiv 2002.05202): {@code f(gate) · up}.
   *
   * @param gate (tokens, intermediate), replaced by the result
   * @param up (tokens, intermediate)
   */
  public void gate(Matrix gate, Matrix up) {
    RowChunks.forEach(
        gate,
        (chunk, from, to) -> {
          float[] g = new float[gate.cols()];
          float[] u = new float[gate.cols()];
          for (long r = from; r < to; r++) {
            gate.row(r, g);
            up.row(r, u);
            apply(g);
            RowCode.forward().multiply(g, u, 0, g.length);
            gate.setRow(r, g);
          }
        });
  }
}
