package ai.owl.model;

/** How an architecture normalizes. */
public enum NormKind {
  /** {@link ai.owl.kernel.RmsNorm}: a gain, no bias. */
  RMS_NORM,
  /** {@link ai.owl.kernel.LayerNorm}: a gain and a bias. */
  LAYER_NORM
}
