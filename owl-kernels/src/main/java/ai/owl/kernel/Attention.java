package ai.owl.kernel;

import ai.owl.tensor.Matrix;

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

  /** A scratch matrix for the scores of sequences of up to {@code tokens} tokens. */
  public static Matrix scores(int tokens) {
    return new Matrix(Math.min(ROWS, tokens), tokens);
  }

  /** Attention of a whole sequence: no positions before the first query. */
  public void apply(Matrix q, Matrix k, Matrix v, Matrix scores, Matrix out) {
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
  public void apply(Matrix q, Matrix k, Matrix v, int past, Matrix scores, Matrix out) {
    int tokens = (int) q.rows();
    float[] row = new float[scores.cols()];
    for (int head = 0; head < heads; head++) {
      int column = head * headDim;
      int group = head / (heads / keyValueHeads) * headDim;
      for (int first = 0; first < tokens; first += ROWS) {
        int queries = Math.min(tokens, first + ROWS) - first;
        // Keys up to the last of these queries, or all.
        int end = past + (isCausal ? first + queries : tokens);
        int start = window == 0 ? 0 : Math.max(0, past + first - window + 1);
        int keys = end - start;
        Blas.gemm(
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
            scores.pointer(0, 0),
            scores.cols());
        for (int i = 0; i < queries; i++) {
          int position = past + first + i;
          int from = window == 0 ? 0 : Math.max(0, position - window + 1) - start;
          int to = isCausal ? position + 1 - start : keys;
          scores.copyTo(i, 0, row, 0, keys);
          if (cap > 0) {
            for (int j = from; j < to; j++) {
              row[j] = SoftCap.of(row[j], cap);
            }
          }
          softmax(row, from, to, keys);
          scores.copyFrom(i, 0, row, 0, keys);
        }
        Blas.gemm(
            false,
            false,
            queries,
            headDim,
            keys,
            1f,
            scores.pointer(0, 0),
            scores.cols(),
            v.pointer(start, group),
            v.cols(),
            0f,
            out.pointer(first, column),
            out.cols());
      }
    }
  }

  /**
   * Softmax of {@code row[from..to)}; the rest of {@code row[0..length)} is masked and becomes 0.
   */
  static void softmax(float[] row, int from, int to, int length) {
    float max = Float.NEGATIVE_INFINITY;
    for (int j = from; j < to; j++) {
      max = Math.max(max, row[j]);
    }
    double sum = 0;
    for (int j = from; j < to; j++) {
      float e = (float) Math.exp(row[j] - max);
      row[j] = e;
      sum += e;
    }
    float scale = (float) (1 / sum);
    for (int j = from; j < to; j++) {
      row[j] *= scale;
    }
    java.util.Arrays.fill(row, 0, from, 0f);
    java.util.Arrays.fill(row, to, length, 0f);
  }
}
