package ai.owl.kernel;

import ai.owl.tensor.Bfloat16;
import ai.owl.tensor.Matrix;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;

/**
 * Softmax attention with grouped queries: {@code out_h = softmax(c(scale · q_h · k_gᵀ) + mask) ·
 * v_g}, where head h shares the key and value head {@code g = h / (heads / keyValueHeads)}, and
 * {@code c(x) = cap · tanh(x / cap)} keeps scores within bounds (arXiv 2408.00118), or is not
 * there.
 *
 * <p>Works head by head on blocks of query rows, straight on the interleaved layout the linear
 * layers leave, so that no tensor of heads × tokens × tokens is ever made.
 *
 * @param heads number of query heads
 * @param keyValueHeads number of key and value heads, a divisor of {@code heads}
 * @param headDim width d of a head
 * @param isCausal whether a token sees nothing that comes after it; else it sees everything
 * @param window how many positions, its own included, a token sees looking back; 0 for all
 * @param scale of the scores, usually {@code 1 / sqrt(d)}
 * @param cap bound of the scores; 0 for none
 */
public record Attention(
    int heads,
    int keyValueHeads,
    int headDim,
    boolean isCausal,
    int window,
    float scale,
    float cap) {
  /**
   * Query rows worked on together: enough for an efficient product, small enough for the scores to
   * stay in cache.
   */
  public static final int ROWS = 128;

  /** Width of heads from which on rounded products are faster: by a fifth here, a third at 64. */
  private static final int NARROWEST_ROUNDED = 32;

  /** Room for the scores of sequences of up to {@code tokens} tokens; to be closed. */
  public static Scores scores(int tokens) {
    return scores(tokens, Compute.FLOAT32);
  }

  /**
   * Room for the scores of sequences of up to {@code tokens} tokens; to be closed.
   *
   * @param compute what whole sequences are attended to in. With {@link Compute#BFLOAT16}, where
   *     the processor has it and heads are {@value #NARROWEST_ROUNDED} or wider, queries, keys,
   *     values and the softmax's weights are rounded before they are multiplied, scores and sums
   *     being float32. That is for every {@value #ROWS} queries; the rest of a sequence, and what
   *     comes behind other positions, is as short as one pleases, and a product would have to be
   *     planned for each length.
   */
  public static Scores scores(int tokens, Compute compute) {
    boolean isRounded = compute == Compute.BFLOAT16 && compute.piecesOfExact() == 1;
    return new Scores(tokens, isRounded);
  }

  /**
   * Bytes that {@link #scores} take in a thread that works alone, at most, on any processor.
   *
   * @param width of queries, of keys and of values together
   */
  public static long scoresBytes(long width, int tokens, Compute compute) {
    long rounded = compute == Compute.BFLOAT16 ? Short.BYTES * (ROWS + width) : 0;
    return (Float.BYTES * (long) ROWS + rounded) * tokens;
  }

  /**
   * The scores of as many blocks of query rows as threads work on at once: (128, tokens) each, made
   * when a thread first needs one.
   */
  public static final class Scores implements AutoCloseable {
    private final int tokens;
    private final boolean isRounded;
    private final Operand queries = new Operand();
    private final Operand keys = new Operand();
    private final Operand values = new Operand();
    private final List<Block> all = new ArrayList<>();
    private final Deque<Block> idle = new ArrayDeque<>();

    private Scores(int tokens, boolean isRounded) {
      this.tokens = tokens;
      this.isRounded = isRounded;
    }

    /**
     * @param scores (128, tokens)
     * @param row of them
     * @param weights those of the softmax in bfloat16, (128, tokens); empty where none are rounded
     * @param rounded row of them
     */
    record Block(Matrix scores, float[] row, BytePointer weights, byte[] rounded) {
      private static Block of(int tokens, boolean isRounded) {
        int rows = Math.min(ROWS, tokens);
        float[] row = new float[tokens];
        byte[] rounded = new byte[Short.BYTES * (isRounded ? tokens : 0)];
        Matrix scores = new Matrix(rows, tokens);
        try {
          BytePointer weights =
              isRounded ? new BytePointer((long) Short.BYTES * rows * tokens) : new BytePointer();
          return new Block(scores, row, weights, rounded);
        } catch (OutOfMemoryError e) {
          scores.close();
          throw e;
        }
      }

      private void close() {
        scores.close();
        weights.close();
      }
    }

    synchronized Block take() {
      if (idle.isEmpty()) {
        Block block = Block.of(tokens, isRounded);
        all.add(block);
        return block;
      }
      return idle.pop();
    }

    synchronized void giveBack(Block block) {
      idle.push(block);
    }

    @Override
    public void close() {
      all.forEach(Block::close);
      all.clear();
      idle.clear();
      queries.close();
      keys.close();
      values.close();
    }
  }

  /** Works on a block of query rows of one head, from a row on. */
  @FunctionalInterface
  private interface RowBlock {
    void attend(int head, int first, int queries, Scores.Block block);
  }

  /**
   * Takes every block of query rows of every head, on as many threads as a product may use; each
   * block is the work of one.
   */
  private void forEachBlock(int tokens, Scores scores, RowBlock work) {
    int down = (tokens + ROWS - 1) / ROWS;
    Blas.forEachTile(
        heads * down,
        tile -> {
          // Of a causal sequence's blocks the last take longest, and are begun first.
          int first = (down - 1 - tile / heads) * ROWS;
          Scores.Block block = scores.take();
          try {
            int queries = Math.min(tokens, first + ROWS) - first;
            work.attend(tile % heads, first, queries, block);
          } finally {
            scores.giveBack(block);
          }
        });
  }

  /** Attention of a whole sequence: no positions before the first query. */
  public void apply(Matrix q, Matrix k, Matrix v, Scores scores, Matrix out) {
    if (!scores.isRounded || q.rows() < ROWS || headDim < NARROWEST_ROUNDED) {
      apply(q, k, v, 0, scores, out);
      return;
    }
    int tokens = (int) q.rows();
    scores.queries.of(q).takeApart(1);
    scores.keys.of(k).takeApart(1);
    scores.values.of(v).takeApart(1);
    forEachBlock(
        tokens,
        scores,
        (head, first, queries, block) -> {
          if (queries == ROWS) {
            attendRounded(head, first, tokens, scores, block, out);
          } else {
            attend(head, first, queries, q, k, v, 0, block, out);
          }
        });
  }

  private void attendRounded(
      int head, int first, int tokens, Scores scores, Scores.Block block, Matrix out) {
    int column = head * headDim;
    int group = head / (heads / keyValueHeads) * headDim;
    int end = isCausal ? first + ROWS : tokens;
    int start = window == 0 ? 0 : Math.max(0, first - window + 1);
    int keys = end - start;
    // Rows one behind the other, however much room there is: no bit may depend on that, and causal
    // sequences of all lengths share their plans.
    new OneDnn.Part(
            ROWS,
            keys,
            headDim,
            scores.queries.x().cols(),
            true,
            scores.keys.x().cols(),
            keys,
            scale)
        .multiply(
            scores.queries.piece(0, first, column),
            scores.keys.piece(0, start, group),
            block.scores().pointer(0, 0));
    FloatPointer score = block.scores().pointer(0, 0);
    BytePointer weight = block.weights().getPointer();
    for (int i = 0; i < ROWS; i++) {
      long at = (long) i * keys;
      score.position(at).get(block.row(), 0, keys);
      softmax(block.row(), first, i, start, keys);
      Bfloat16.round(block.row(), keys, block.rounded());
      weight.position(Short.BYTES * at).put(block.rounded(), 0, Short.BYTES * keys);
    }
    new OneDnn.Part(ROWS, headDim, keys, keys, false, scores.values.x().cols(), out.cols(), 1)
        .multiply(
            block.weights(), scores.values.piece(0, start, group), out.pointer(first, column));
  }

  /**
   * @param q (tokens, heads · d), rotated; the queries of positions {@code past} and on
   * @param k (past + tokens or more, keyValueHeads · d), rotated
   * @param v (past + tokens or more, keyValueHeads · d)
   * @param past number of positions before the first query
   * @param scores scratch from {@link #scores}, for as many tokens as there are keys
   * @param out (tokens, heads · d)
   */
  public void apply(Matrix q, Matrix k, Matrix v, int past, Scores scores, Matrix out) {
    forEachBlock(
        (int) q.rows(),
        scores,
        (head, first, queries, block) -> attend(head, first, queries, q, k, v, past, block, out));
  }

  private void attend(
      int head,
      int first,
      int queries,
      Matrix q,
      Matrix k,
      Matrix v,
      int past,
      Scores.Block block,
      Matrix out) {
    int column = head * headDim;
    int group = head / (heads / keyValueHeads) * headDim;
    // Keys up to the last of these queries, or all.
    int end = past + (isCausal ? first + queries : (int) q.rows());
    int start = window == 0 ? 0 : Math.max(0, past + first - window + 1);
    int keys = end - start;
    score(q, first, column, queries, k, start, group, keys, block.scores(), 0);
    softmax(block, past + first, queries, start, end);
    mix(block.scores(), 0, queries, keys, v, start, group, 0f, out, first, column);
  }

  /**
   * Attention of tokens that come after a prefix whose keys and values lie elsewhere.
   *
   * @param prefixKeys (past, keyValueHeads · d), rotated
   * @param prefixValues (past, keyValueHeads · d)
   * @param q (tokens, heads · d), rotated; the queries of positions {@code past} and on
   * @param k (tokens, keyValueHeads · d), rotated
   * @param v (tokens, keyValueHeads · d)
   * @param scores scratch from {@link #scores}, for past + tokens or more
   * @param out (tokens, heads · d)
   */
  public void applyBehind(
      Matrix prefixKeys,
      Matrix prefixValues,
      Matrix q,
      Matrix k,
      Matrix v,
      Scores scores,
      Matrix out) {
    int past = (int) prefixKeys.rows();
    int tokens = (int) q.rows();
    forEachBlock(
        tokens,
        scores,
        (head, first, queries, block) -> {
          int column = head * headDim;
          int group = head / (heads / keyValueHeads) * headDim;
          int end = past + (isCausal ? first + queries : tokens);
          int start = window == 0 ? 0 : Math.max(0, past + first - window + 1);
          int before = Math.max(0, past - start); // keys of the prefix
          int skipped = Math.max(0, start - past); // keys behind it that nobody sees any more
          int own = end - past - skipped;
          if (before > 0) {
            score(q, first, column, queries, prefixKeys, start, group, before, block.scores(), 0);
          }
          score(q, first, column, queries, k, skipped, group, own, block.scores(), before);
          softmax(block, past + first, queries, start, end);
          if (before > 0) {
            mix(
                block.scores(),
                0,
                queries,
                before,
                prefixValues,
                start,
                group,
                0f,
                out,
                first,
                column);
          }
          float beta = before > 0 ? 1f : 0f;
          mix(block.scores(), before, queries, own, v, skipped, group, beta, out, first, column);
        });
  }

  /** Scores of some queries of a head against some keys of its group. */
  private void score(
      Matrix q,
      int first,
      int column,
      int queries,
      Matrix k,
      int start,
      int group,
      int keys,
      Matrix scores,
      int at) {
    Blas.gemmAlone(
        false,
        true,
        queries,
        keys,
        headDim,
        scale,
        q.pointer(first, column),
        q.cols(),
        k.pointer(start, group),
        k.cols(),
        0f,
        scores.pointer(0, at),
        scores.cols());
  }

  /** The values that a head of some queries attends to: {@code out = weights · v + beta · out}. */
  private void mix(
      Matrix weights,
      int at,
      int queries,
      int keys,
      Matrix v,
      int start,
      int group,
      float beta,
      Matrix out,
      int first,
      int column) {
    Blas.gemmAlone(
        false,
        false,
        queries,
        headDim,
        keys,
        1f,
        weights.pointer(0, at),
        weights.cols(),
        v.pointer(start, group),
        v.cols(),
        beta,
        out.pointer(first, column),
        out.cols());
  }

  /**
   * Turns the scores of some queries into weights.
   *
   * @param position of the first query
   * @param start position of the first key
   * @param end position behind the last key
   */
  private void softmax(Scores.Block block, int position, int queries, int start, int end) {
    for (int i = 0; i < queries; i++) {
      block.scores().copyTo(i, 0, block.row(), 0, end - start);
      softmax(block.row(), position, i, start, end - start);
      block.scores().copyFrom(i, 0, block.row(), 0, end - start);
    }
  }

  /** Turns the scores of query i of a block into weights. */
  private void softmax(float[] row, int position, int i, int start, int keys) {
    int from = window == 0 ? 0 : Math.max(0, position + i - window + 1) - start;
    int to = isCausal ? position + i + 1 - start : keys;
    if (cap > 0) {
      for (int j = from; j < to; j++) {
        row[j] = SoftCap.of(row[j], cap);
      }
    }
    softmax(row, from, to, keys);
  }

  /**
   * Softmax of {@code row[from..to)}; the rest of {@code row[0..length)} is masked and becomes 0.
   */
  static void softmax(float[] row, int from, int to, int length) {
    RowCode.forward().exponentials(row, from, to, RowCode.forward().max(row, from, to));
    double[] sums = new double[RowOperations.SUMS];
    RowCode.forward().addValues(row, from, to, sums);
    RowCode.forward().multiply(row, from, to, (float) (1 / RowOperations.total(sums)));
    Arrays.fill(row, 0, from, 0f);
    Arrays.fill(row, to, length, 0f);
  }
}
