package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Turns token ids into the hidden states that enter the first block. Reads only the rows that the
 * ids name.
 */
public final class TokenEmbedding {
  private TokenEmbedding() {}

  /**
   * The embeddings of some sequences.
   *
   * @param sequences token ids below vocab_size
   * @return one matrix (tokens, hidden) per sequence, the caller's to close
   */
  public static List<Matrix> embed(ModelLayout model, List<int[]> sequences, TensorReader reader)
      throws IOException {
    int[] ids = sequences.stream().flatMapToInt(Arrays::stream).sorted().distinct().toArray();
    List<Matrix> hidden = new ArrayList<>();
    // Where each id occurs: (id, sequence, position), by id, so that a row is placed everywhere as
    // it comes by.
    long[] places = new long[sequences.stream().mapToInt(s -> s.length).sum()];
    int[] sequenceOf = new int[places.length];
    int[] positionOf = new int[places.length];
    int n = 0;
    for (int s = 0; s < sequences.size(); s++) {
      for (int p = 0; p < sequences.get(s).length; p++, n++) {
        places[n] = (long) sequences.get(s)[p] << 32 | n;
        sequenceOf[n] = s;
        positionOf[n] = p;
      }
    }
    Arrays.sort(places);
    int[] next = {0};
    long[] rows = Arrays.stream(ids).asLongStream().toArray();
    try {
      for (int[] sequence : sequences) {
        hidden.add(new Matrix(sequence.length, model.config().hiddenSize()));
      }
      reader.readRows(
          model.embedding(),
          rows,
          (id, values) -> {
            for (; next[0] < places.length && places[next[0]] >>> 32 == id; next[0]++) {
              int place = (int) places[next[0]];
              hidden.get(sequenceOf[place]).setRow(positionOf[place], values);
            }
          });
      return hidden;
    } catch (IOException | RuntimeException | Error e) {
      hidden.forEach(Matrix::close);
      throw e;
    }
  }
}
