package ai.owl.model;

import ai.owl.kernel.CausalAttention;
import ai.owl.kernel.RotaryEmbedding;
import ai.owl.tensor.Matrix;

/**
 * The working memory of a forward pass, kept from block to block and sequence to sequence, because
 * fresh pages are dear. Grows to the longest sequence it meets. One per thread.
 */
public final class ForwardBuffers implements AutoCloseable {
  private final ModelConfig config;
  private int capacity;
  private Matrix[] all = {};
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
      normed = new Matrix(tokens, config.hiddenSize());
      residual = new Matrix(tokens, config.hiddenSize());
      q = new Matrix(tokens, width);
      k = new Matrix(tokens, narrow);
      v = new Matrix(tokens, narrow);
      attended = new Matrix(tokens, width);
      gate = new Matrix(tokens, config.intermediateSize());
      up = new Matrix(tokens, config.intermediateSize());
      scores = CausalAttention.scores(tokens);
      all = new Matrix[] {normed, residual, q, k, v, attended, gate, up, scores};
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
    all = new Matrix[] {};
    capacity = 0;
  }
}
