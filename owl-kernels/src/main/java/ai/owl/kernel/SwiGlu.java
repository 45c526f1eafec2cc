package ai.owl.kernel;

import ai.owl.tensor.Matrix;

/**
 * The gated activation of LLaMA's feed-forward part (arXiv 2002.05202): {@code silu(gate) · up},
 * {@code silu(x) = x / (1 + e^-x)}.
 */
public final class SwiGlu {
  private SwiGlu() {}

  /**
   * @param gate (tokens, intermediate), replaced by the result
   * @param up (tokens, intermediate)
   */
  public static void apply(Matrix gate, Matrix up) {
    float[] g = new float[gate.cols()];
    float[] u = new float[gate.cols()];
    for (long r = 0; r < gate.rows(); r++) {
      gate.row(r, g);
      up.row(r, u);
      for (int j = 0; j < g.length; j++) {
        g[j] = g[j] / (1f + (float) Math.exp(-g[j])) * u[j];
      }
      gate.setRow(r, g);
    }
  }
}
