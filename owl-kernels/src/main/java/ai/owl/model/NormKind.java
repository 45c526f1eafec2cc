package ai.owl.model;

/** How an architecture normalizes. */
public enum NormKind {
  /** {@link ai.owl.kernel.RmsNorm}: a gain, no bias. */
  RMS_NORM,
  /** The same, with weights that are added to one to make the gain. */
  RMS_NORM_AROUND_ONE,
  /** {@link ai.owl.kernel.LayerNorm}: a gain and a bias. */
  LAYER_NORM
}
