package ai.owl.model;

/**
 * The four places in a decoder block where hidden states enter linear layers. Layers with the same
 * input share its statistics.
 */
public enum LinearInput {
  /** The normalized hidden states that q_proj, k_proj and v_proj read. */
  ATTENTION,
  /** The heads' outputs that o_proj reads. */
  ATTENTION_OUTPUT,
  /** The normalized hidden states that gate_proj and up_proj read. */
  MLP,
  /** The gated activations that down_proj reads. */
  MLP_OUTPUT
}
