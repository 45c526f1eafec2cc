package ai.owl.model;

/**
 * A linear layer's place in a decoder block: its name there, and which {@link LinearInput} it
 * reads.
 */
public enum LinearRole {
  Q_PROJ("self_attn.q_proj", LinearInput.ATTENTION),
  K_PROJ("self_attn.k_proj", LinearInput.ATTENTION),
  V_PROJ("self_attn.v_proj", LinearInput.ATTENTION),
  O_PROJ("self_attn.o_proj", LinearInput.ATTENTION_OUTPUT),
  GATE_PROJ("mlp.gate_proj", LinearInput.MLP),
  UP_PROJ("mlp.up_proj", LinearInput.MLP),
  DOWN_PROJ("mlp.down_proj", LinearInput.MLP_OUTPUT);

  private final String path;
  private final LinearInput input;

  LinearRole(String path, LinearInput input) {
    this.path = path;
    this.input = input;
  }

  /** The layer's name inside its block, such as {@code self_attn.q_proj}. */
  public String path() {
    return path;
  }

  public LinearInput input() {
    return input;
  }
}
