package ai.owl.model;

import ai.owl.kernel.Attention;
import ai.owl.kernel.RotaryEmbedding;
import ai.owl.tensor.Matrix;
import java.util.Optional;

/**
 * The keys and values that one block computed for the tokens so far, so that the next token needs
 * no others. Holds a number of positions fixed from the start.
 */
public final class KeyValueCache implements AutoCloseable {
  private final Matrix keys; // (positions, keyValueHeads · headDim), as attention takes them
  private final Matrix values; // (positions, keyValueHeads · headDim)
  private final Attention.Scores scores;
  private final Optional<RotaryEmbedding.Table> rotations;
  private int length;

  /**
   * @param positions how many tokens there will be at most
   */
  public KeyValueCache(ModelConfig config, int positions) {
    int width = config.keyValueHeads() * config.headDim();
    this.keys = new Matrix(positions, width);
    this.values = new Matrix(positions, width);
    this.scores = Attention.scores(positions);
    this.rotations = config.rotary().map(rotary -> rotary.table(positions));
  }

  /** Number of tokens it knows. */
  public int length() {
    return length;
  }

  /** Turns queries or keys of the positions from {@code past} on, if positions are told so. */
  void rotate(Matrix x, int past) {
    rotations.ifPresent(table -> table.rotate(x, past));
  }

  Attention.Scores scores() {
    return scores;
  }

  Matrix keys() {
    return keys;
  }

  Matrix values() {
    return values;
  }

  /** Adds the keys and values of the next tokens. */
  void append(Matrix k, Matrix v) {
    float[] row = new float[k.cols()];
    for (long t = 0; t < k.rows(); t++) {
      k.row(t, row);
      keys.setRow(length + t, row);
      v.row(t, row);
      values.setRow(length + t, row);
    }
    length += (int) k.rows();
  }

  @Override
  public void close() {
    keys.close();
    values.close();
    scores.close();
  }
}
