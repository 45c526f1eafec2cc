package ai.owl.kernel;

/** The bound that Gemma 2 (arXiv 2408.00118) puts on scores and logits. */
public final class SoftCap {
  private SoftCap() {}

  /** {@code cap · tanh(x / cap)}: close to x near zero, and never beyond cap. */
  public static float of(float x, float cap) {
    return (float) Math.tanh(x / cap) * cap;
  }
}
