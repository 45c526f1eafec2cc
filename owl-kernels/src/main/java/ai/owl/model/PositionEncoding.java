package ai.owl.model;

import ai.owl.kernel.RotaryEmbedding;
import java.io.Serializable;
import java.util.Locale;

/** How a model tells one position from another. */
public sealed interface PositionEncoding extends Serializable {
  /** For people. */
  String label();

  /** Queries and keys are turned by their position, in every block. */
  record Rotary(RotaryEmbedding embedding) implements PositionEncoding {
    @Override
    public String label() {
      return String.format(
          Locale.ROOT, "rotary, theta %.0f, %s", embedding.theta(), embedding.scaling().label());
    }
  }

  /**
   * A learned vector per position is added to what enters the first block. There is none beyond
   * {@link ModelConfig#maxPositions}.
   *
   * @param offset rows of the table before that of position 0
   */
  record Learned(int offset) implements PositionEncoding {
    @Override
    public String label() {
      return "learned";
    }
  }
}
