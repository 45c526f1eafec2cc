package ai.owl.calibration;

import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ModelLayout;
import ai.owl.model.TokenEmbedding;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

/**
 * Token ids, sequence by sequence, in a fixed order: what calibration and evaluation feed to the
 * model. Sequences may differ in length; none is empty, there is at least one, and no id is
 * negative. Immutable.
 */
public final class TokenSequences implements Samples {
  private static final long serialVersionUID = 1L;

  private final int[][] sequences;

  private TokenSequences(int[][] sequences) {
    this.sequences = sequences;
  }

  /**
   * The given sequences, copied.
   *
   * @throws IllegalArgumentException if there is no sequence, an empty one, or a negative id
   */
  public static TokenSequences of(List<int[]> sequences) {
    if (sequences.isEmpty()) {
      throw new IllegalArgumentException("Cannot use token sequences: there are none");
    }
    int[][] copies = new int[sequences.size()][];
    for (int i = 0; i < copies.length; i++) {
      copies[i] = sequences.get(i).clone();
      if (copies[i].length == 0) {
        throw new IllegalArgumentException(
            "Cannot use token sequences: sequence " + i + " is empty");
      }
      for (int position = 0; position < copies[i].length; position++) {
        if (copies[i][position] < 0) {
          throw new IllegalArgumentException(
              "Cannot use token sequences: token id "
                  + copies[i][position]
                  + at(i, position)
                  + " is negative");
        }
      }
    }
    return new TokenSequences(copies);
  }

  /** Number of sequences. */
  @Override
  public int count() {
    return sequences.length;
  }

  /** A copy of the ids of sequence {@code i}. */
  public int[] sequence(int i) {
    return sequences[i].clone();
  }

  /** Copies of the ids of all sequences. */
  public List<int[]> sequences() {
    return Arrays.stream(sequences).map(int[]::clone).toList();
  }

  /** The first of these sequences: {@code most} of them, or all if there are fewer. */
  public TokenSequences first(int most) {
    return most >= sequences.length ? this : new TokenSequences(Arrays.copyOf(sequences, most));
  }

  /** Number of tokens in sequence {@code i}. */
  public int length(int i) {
    return sequences[i].length;
  }

  /** Number of tokens in all sequences together. */
  public long tokens() {
    long tokens = 0;
    for (int[] sequence : sequences) {
      tokens += sequence.length;
    }
    return tokens;
  }

  /**
   * Names these sequences: the SHA-256, in hexadecimal, of each one's length and ids as 32-bit
   * little-endian numbers.
   */
  @Override
  public String digest() {
    MessageDigest sha256;
    try {
      sha256 = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
    for (int[] sequence : sequences) {
      ByteBuffer bytes =
          ByteBuffer.allocate(Integer.BYTES * (1 + sequence.length)).order(ByteOrder.LITTLE_ENDIAN);
      bytes.putInt(sequence.length).asIntBuffer().put(sequence);
      sha256.update(bytes.array());
    }
    return HexFormat.of().formatHex(sha256.digest());
  }

  /**
   * Checks that a model with {@code vocabSize} embeddings knows every token.
   *
   * @param source where the sequences came from, for the message
   * @throws IllegalArgumentException naming the first token that it does not know
   */
  public void requireVocabulary(int vocabSize, String source) {
    for (int i = 0; i < sequences.length; i++) {
      for (int position = 0; position < sequences[i].length; position++) {
        if (sequences[i][position] >= vocabSize) {
          throw new IllegalArgumentException(
              "Cannot use "
                  + source
                  + ": token id "
                  + sequences[i][position]
                  + at(i, position)
                  + " is outside the model's vocabulary of "
                  + vocabSize);
        }
      }
    }
  }

  @Override
  public List<Matrix> embed(ModelLayout model, int first, int end, TensorReader reader)
      throws IOException {
    return TokenEmbedding.embed(model, Arrays.asList(sequences).subList(first, end), reader);
  }

  private static String at(int sequence, int position) {
    return " at sequence " + sequence + ", position " + position;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenSequences that && Arrays.deepEquals(sequences, that.sequences);
  }

  @Override
  public int hashCode() {
    return Arrays.deepHashCode(sequences);
  }

  @Override
  public String toString() {
    return count() + " sequences of " + tokens() + " tokens in all";
  }
}
