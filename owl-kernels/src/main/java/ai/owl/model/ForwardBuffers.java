package ai.owl.model;

import ai.owl.kernel.CausalAttention;
import ai.owl.kernel.RotaryEmbedding;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * The working memory of a forward pass, kept from block to block and sequence to sequence, because
 * fresh pages are dear. Grows to the longest sequence it meets. One per thread.
 */
public final class ForwardBuffers implements AutoCloseable {
  private final ModelConfig config;
  private int capacity;
  private final List<Matrix> all = new ArrayList<>();
  private RotaryEmbedding.Table rotations;

  private Matrix normed;
  private Matrix residual;
  private Matrix q;
  private Matrix k;
  private Matrix v;
  private Matrix attended;
  private Matrix gate;
  private Matrix up;
  private Matrix scores;

  public ForwardBuffers(ModelConfig config) {
    this.config = config;
  }

  /** Bytes that sequences of {@code tokens} tokens need. */
  public static long bytes(ModelConfig config, int tokens) {
    long heads = (long) config.headDim() * (2L * config.heads() + 2L * config.keyValueHeads());
    long floats = 2L * config.hiddenSize() + heads + 2L * config.intermediateSize() + 128;
    return Float.BYTES * floats * tokens;
  }

  /** The buffers of a sequence of {@code tokens} tokens, with undefined content. */
  Views of(int tokens) {
    if (tokens > capacity) {
      close();
      int width = config.heads() * config.headDim();
      int narrow = config.keyValueHeads() * config.headDim();
      normed = make(tokens, config.hiddenSize());
      residual = make(tokens, config.hiddenSize());
      q = make(tokens, width);
      k = make(tokens, narrow);
      v = make(tokens, narrow);
      attended = make(tokens, width);
      gate = make(tokens, config.intermediateSize());
      up = make(tokens, config.intermediateSize());
      scores = owned(CausalAttention.scores(tokens));
      rotations = config.rotary().table(tokens);
      capacity = tokens;
    }
    return new Views(
        normed.firstRows(tokens),
        residual.firstRows(tokens),
        q.firstRows(tokens),
        k.firstRows(tokens),
        v.firstRows(tokens),
        attended.firstRows(tokens),
        gate.firstRows(tokens),
        up.firstRows(tokens),
        scores,
        rotations);
  }

  private Matrix make(int tokens, int width) {
    return owned(new Matrix(tokens, width));
  }

  /** Known at once, so that a later one that finds no memory leaves nothing behind. */
  private Matrix owned(Matrix matrix) {
    all.add(matrix);
    return matrix;
  }

  /** Each (tokens, its width). */
  record Views(
      Matrix normed,
      Matrix residual,
      Matrix q,
      Matrix k,
      Matrix v,
      Matrix attended,
      Matrix gate,
      Matrix up,
      Matrix scores,
      RotaryEmbedding.Table rotations) {}

  @Override
  public void close() {
    for (Matrix matrix : all) {
      matrix.close();
    }
    all.clear();
    capacity = 0;
  }
}
