package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.kernel.Blas;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/**
 * Turns token ids into the hidden states that enter the first block: {@code h_t = project_in ·
 * (scale · embedding[id_t]) + positions[offset + t]}, without the projection and the learned
 * positions where the model has none. Reads only the rows that ids and positions name.
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
    return embed(model, sequences, 0, reader);
  }

  /**
   * The embeddings of what comes after the first tokens of some sequences.
   *
   * @param sequences token ids below vocab_size
   * @param past the position of the first token of each
   * @return one matrix (tokens, hidden) per sequence, the caller's to close
   */
  public static List<Matrix> embed(
      ModelLayout model, List<int[]> sequences, int past, TensorReader reader) throws IOException {
    int longest = sequences.stream().mapToInt(ids -> ids.length).max().orElse(0);
    model
        .config()
        .requirePositions((long) past + longest, "use shorter sequences (--length, --tokens)");
    List<Matrix> hidden = lookUp(model, sequences, reader);
    try {
      project(model, hidden, reader);
      addPositions(
          model, hidden, s -> IntStream.range(0, longest).toArray(), past, longest, reader);
      return hidden;
    } catch (IOException | RuntimeException | Error e) {
      hidden.forEach(Matrix::close);
      throw e;
    }
  }

  /**
   * The embeddings of packed sequences.
   *
   * @param ids of every packing the tokens of its rows, below vocab_size
   * @return one matrix (rows, hidden) per packing, the caller's to close
   */
  public static List<Matrix> embed(
      ModelLayout model, List<int[]> ids, List<SequencePacking> packings, TensorReader reader)
      throws IOException {
    List<int[]> positions = packings.stream().map(SequencePacking::positions).toList();
    int longest = 1 + positions.stream().flatMapToInt(Arrays::stream).max().orElse(-1);
    model.config().requirePositions(longest, "use shorter sequences");
    List<Matrix> hidden = lookUp(model, ids, reader);
    try {
      project(model, hidden, reader);
      addPositions(model, hidden, s -> positions.get(s), 0, longest, reader);
      return hidden;
    } catch (IOException | RuntimeException | Error e) {
      hidden.forEach(Matrix::close);
      throw e;
    }
  }

  /** Widens the rows, in a model whose embedding is narrower than its hidden states. */
  private static void project(ModelLayout model, List<Matrix> hidden, TensorReader reader)
      throws IOException {
    Optional<TensorRef> projection = model.part(ModelPart.PROJECT_IN);
    if (projection.isPresent()) {
      try (Matrix weight = reader.readMatrix(projection.get())) {
        for (int s = 0; s < hidden.size(); s++) {
          try (Matrix narrow = hidden.get(s)) {
            Matrix wide = new Matrix(narrow.rows(), model.config().hiddenSize());
            hidden.set(s, wide);
            Blas.linear(narrow, weight, 0f, wide);
          }
        }
      }
    }
  }

  /**
   * @param positions of a matrix's rows, counted from {@code past} on
   */
  private static void addPositions(
      ModelLayout model,
      List<Matrix> hidden,
      IntFunction<int[]> positions,
      int past,
      int longest,
      TensorReader reader)
      throws IOException {
    if (model.config().positions() instanceof PositionEncoding.Learned learned) {
      TensorRef table = model.part(ModelPart.POSITION_EMBEDDING).orElseThrow();
      float[] row = new float[model.config().hiddenSize()];
      float[] position = new float[row.length];
      try (Matrix learnt = reader.readMatrix(table, learned.offset() + past, longest)) {
        for (int s = 0; s < hidden.size(); s++) {
          Matrix states = hidden.get(s);
          int[] of = positions.apply(s);
          for (long t = 0; t < states.rows(); t++) {
            states.row(t, row);
            learnt.row(of[(int) t], position);
            for (int j = 0; j < row.length; j++) {
              row[j] += position[j];
            }
            states.setRow(t, row);
          }
        }
      }
    }
  }

  /** The embedding's row of each token. */
  private static List<Matrix> lookUp(ModelLayout model, List<int[]> sequences, TensorReader reader)
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
        hidden.add(new Matrix(sequence.length, model.config().embeddingSize()));
      }
      reader.readRows(
          model.embedding(),
          rows,
          (id, values) -> {
            scale(values, model.config().embeddingScale());
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

  private static void scale(float[] values, float scale) {
    if (scale != 1) {
      for (int j = 0; j < values.length; j++) {
        values[j] *= scale;
      }
    }
  }
}
