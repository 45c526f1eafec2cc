package ai.owl.model;

import ai.owl.kernel.Attention;
import ai.owl.kernel.Operand;
import ai.owl.kernel.RotaryEmbedding;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The working memory of a forward pass, kept from block to block and sequence to sequence, because
 * fresh pages are dear. Grows to the longest sequence it meets. One per thread.
 */
public final class ForwardBuffers implements AutoCloseable {
  private final ModelConfig config;
  private int capacity;
  private final List<Matrix> all = new ArrayList<>();
  private Optional<RotaryEmbedding.Table> rotations = Optional.empty();

  private Matrix normed;
  private Matrix residual;
  private Matrix q;
  private Matrix k;
  private Matrix v;
  private Matrix attended;
  private Matrix activated;
  private Matrix up;
  private Attention.Scores scores;
  private final Operand operand = new Operand();

  public ForwardBuffers(ModelConfig config) {
    this.config = config;
  }

  /**
   * Bytes that sequences of {@code tokens} tokens need, at most, on any processor, for a thread
   * that works alone. Each further one takes room for scores of its own, half a KB a token.
   */
  public static long bytes(ModelConfig config, int tokens) {
    long factors = (long) config.headDim() * (config.heads() + 2L * config.keyValueHeads());
    long attended = (long) config.headDim() * config.heads();
    long inner = (config.isGated() ? 2L : 1L) * config.intermediateSize();
    long floats = 2L * config.hiddenSize() + factors + attended + inner;
    long widest = Math.max(attended, config.intermediateSize());
    return Float.BYTES * floats * tokens
        + Attention.scoresBytes(factors, tokens, config.compute())
        + Operand.bytes(Math.max(widest, config.hiddenSize()), tokens, config.compute());
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
      activated = make(tokens, config.intermediateSize());
      up = make(config.isGated() ? tokens : 0, config.intermediateSize());
      scores = Attention.scores(tokens, config.compute());
      rotations = config.rotary().map(rotary -> rotary.table(tokens));
      capacity = tokens;
    }
    return new Views(
        normed.firstRows(tokens),
        residual.firstRows(tokens),
        q.firstRows(tokens),
        k.firstRows(tokens),
        v.firstRows(tokens),
        attended.firstRows(tokens),
        activated.firstRows(tokens),
        up.firstRows(Math.min(up.rows(), tokens)),
        scores,
        operand,
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

  /**
   * Each (tokens, its width).
   *
   * @param activated what enters down_proj; before that, gate_proj's output
   * @param up up_proj's output; no rows where nothing is gated
   * @param operand what enters the linear layers at work
   * @param rotations of each position; empty where positions are told otherwise
   */
  record Views(
      Matrix normed,
      Matrix residual,
      Matrix q,
      Matrix k,
      Matrix v,
      Matrix attended,
      Matrix activated,
      Matrix up,
      Attention.Scores scores,
      Operand operand,
      Optional<RotaryEmbedding.Table> rotations) {
    /** Turns queries or keys by their positions, if that is how positions are told. */
    void rotate(Matrix x) {
      rotate(x, 0);
    }

    /** The same behind {@code past} positions. */
    void rotate(Matrix x, int past) {
      rotations.ifPresent(table -> table.rotate(x, past));
    }
  }

  @Override
  public void close() {
    for (Matrix matrix : all) {
      matrix.close();
    }
    all.clear();
    if (scores != null) {
      scores.close();
    }
    operand.close();
    capacity = 0;
  }
}
