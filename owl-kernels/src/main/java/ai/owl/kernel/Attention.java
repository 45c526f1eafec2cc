package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;

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
  private static final int ROWS = 128;

  /** Room for the scores of sequences of up to {@code tokens} tokens; to be closed. */
  public static Scores scores(int tokens) {
    return new Scores(tokens);
  }

  /**
   * The scores of as many blocks of query rows as threads work on at once: (128, tokens) each, made
   * when a thread first needs one.
   */
  public static final class Scores implements AutoCloseable {
    private final int tokens;
    private final List<Block> all = new ArrayList<>();
    private final Deque<Block> idle = new ArrayDeque<>();

    private Scores(int tokens) {
      this.tokens = tokens;
    }

    record Block(Matrix scores, float[] row) {}

    synchronized Block take() {
      if (idle.isEmpty()) {
        Block block = new Block(new Matrix(Math.min(ROWS, tokens), tokens), new float[tokens]);
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
      all.forEach(block -> block.scores().close());
      all.clear();
      idle.clear();
    }
  }

  /** Works on a block of query rows of one head, from a row on. */
  @FunctionalInterface
  private interface RowBlock {
    void attend(int head, int first, int queries, Matrix scores, float[] row);
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
            work.attend(tile % heads, first, queries, block.scores(), block.row());
          } finally {
            scores.giveBack(block);
          }
        });
  }

  /** Attention of a whole sequence: no positions before the first query. */
  public void apply(Matrix q, Matrix k, Matrix v, Scores scores, Matrix out) {
    apply(q, k, v, 0, scores, out);
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
    int tokens = (int) q.rows();
    forEachBlock(
        tokens,
        scores,
        (head, first, queries, block, row) -> {
          int column = head * headDim;
          int group = head / (heads / keyValueHeads) * headDim;
          // Keys up to the last of these queries, or all.
          int end = past + (isCausal ? first + queries : tokens);
          int start = window == 0 ? 0 : Math.max(0, past + first - window + 1);
          int keys = end - start;
          score(q, first, column, queries, k, start, group, keys, block, 0);
          softmax(block, row, past + first, queries, start, end);
          mix(block, 0, queries, keys, v, start, group, 0f, out, first, column);
        });
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
        (head, first, queries, block, row) -> {
          int column = head * headDim;
          int group = head / (heads / keyValueHeads) * headDim;
          int end = past + (isCausal ? first + queries : tokens);
          int start = window == 0 ? 0 : Math.max(0, past + first - window + 1);
          int before = Math.max(0, past - start); // keys of the prefix
          int skipped = Math.max(0, start - past); // keys behind it that nobody sees any more
          int own = end - past - skipped;
          if (before > 0) {
            score(q, first, column, queries, prefixKeys, start, group, before, block, 0);
          }
          score(q, first, column, queries, k, skipped, group, own, block, before);
          softmax(block, row, past + first, queries, start, end);
          if (before > 0) {
            mix(block, 0, queries, before, prefixValues, start, group, 0f, out, first, column);
          }
          float beta = before > 0 ? 1f : 0f;
          mix(block, before, queries, own, v, skipped, group, beta, out, first, column);
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
   * @param scores (queries or more, end − start or more)
   * @param position of the first query
   * @param start position of the first key
   * @param end position behind the last key
   */
  private void softmax(Matrix scores, float[] row, int position, int queries, int start, int end) {
    int keys = end - start;
    for (int i = 0; i < queries; i++) {
      int from = window == 0 ? 0 : Math.max(0, position + i - window + 1) - start;
      int to = isCausal ? position + i + 1 - start : keys;
      scores.copyTo(i, 0, row, 0, keys);
      if (cap > 0) {
        for (int j = from; j < to; j++) {
          row[j] = SoftCap.of(row[j], cap);
        }
      }
      softmax(row, from, to, keys);
      scores.copyFrom(i, 0, row, 0, keys);
    }
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
