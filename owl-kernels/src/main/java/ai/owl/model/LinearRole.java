package ai.owl.model;

import java.util.List;

/**
 * What a linear layer does in a transformer block, whatever its architecture calls it, and which
 * {@link LinearInput} it reads.
 */
public enum LinearRole {
  /** Makes the queries. */
  Q_PROJ(LinearInput.ATTENTION),
  /** Makes the keys. */
  K_PROJ(LinearInput.ATTENTION),
  /** Makes the values. */
  V_PROJ(LinearInput.ATTENTION),
  /** Makes queries, keys and values: the rows of the three follow each other in its weight. */
  QKV_PROJ(LinearInput.ATTENTION, Q_PROJ, K_PROJ, V_PROJ),
  /** Brings the heads' outputs back to the width of the hidden states. */
  O_PROJ(LinearInput.ATTENTION_OUTPUT),
  /** Makes what goes through the activation and then gates what {@link #UP_PROJ} makes. */
  GATE_PROJ(LinearInput.MLP),
  /** Makes what is gated, or, where nothing is, what goes through the activation. */
  UP_PROJ(LinearInput.MLP),
  /** Makes gate and what is gated: the rows of the two follow each other in its weight. */
  GATE_UP_PROJ(LinearInput.MLP, GATE_PROJ, UP_PROJ),
  /** Brings the activations back to the width of the hidden states. */
  DOWN_PROJ(LinearInput.MLP_OUTPUT);

  private final LinearInput input;
  private final List<LinearRole> parts;

  LinearRole(LinearInput input, LinearRole... parts) {
    this.input = input;
    this.parts = parts.length == 0 ? List.of() : List.of(parts);
  }

  public LinearInput input() {
    return input;
  }

  /** The layers it stands for, in the order of its rows: itself, but for a fused one. */
  List<LinearRole> parts() {
    return parts.isEmpty() ? List.of(this) : parts;
  }
}
