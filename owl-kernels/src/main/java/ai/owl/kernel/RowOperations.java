package ai.owl.kernel;

/**
 * The loops over one row that everything but the matrix products spends its time in, on heap
 * arrays; ranges are [from, to).
 *
 * <p>All implementations give the same bits, for any width of the processor's vectors: element-wise
 * ones since each element goes through the same operations in the same order, and sums since they
 * are defined as {@link #SUMS} running sums in float64. Element {@code from + j} goes to sum {@code
 * j mod SUMS}, and {@link #total} adds the sums up by halves.
 *
 * <p>Keys are the bits of scores, which are not negative, as integers, which order as the scores
 * do.
 */
interface RowOperations {
  /** Running sums: as many as two AVX-512 registers hold, so that no addition waits for another. */
  int SUMS = 16;

  /** Tokens that sparse products are made of side by side: eight vectors of 256 bits. */
  int TOKENS = 64;

  /** Adds up running sums. */
  static double total(double[] sums) {
    double[] halves = sums.clone();
    for (int width = SUMS / 2; width > 0; width /= 2) {
      for (int l = 0; l < width; l++) {
        halves[l] += halves[l + width];
      }
    }
    return halves[0];
  }

  /** {@code sums += x_j}. */
  void addValues(float[] x, int from, int to, double[] sums);

  /** {@code sums += x_j²}. */
  void addSquares(float[] x, int from, int to, double[] sums);

  /** {@code sums += (x_j − center)²}, the difference in float64. */
  void addSquaredDistances(float[] x, int from, int to, double center, double[] sums);

  /** {@code sums += |w_j| · norm_j}, the product in float32. */
  void addScores(float[] weights, float[] norms, int from, int to, double[] sums);

  /** {@code sums_j += x_j²} for each of {@code count} rows of {@code width} behind each other. */
  void addColumnSquares(float[] rows, int count, int width, double[] sums, int from, int to);

  /** The largest; −∞ of none. */
  float max(float[] x, int from, int to);

  /** {@code x_j = e^(x_j − shift)}, by {@link PlainRows#exp}. */
  void exponentials(float[] x, int from, int to, float shift);

  /** {@code x_j = x_j · factor}. */
  void multiply(float[] x, int from, int to, float factor);

  /** {@code x_j = x_j · by_j}. */
  void multiply(float[] x, float[] by, int from, int to);

  /** {@code x_(at+j) = x_(at+j) · scale · gain_j}, for j in the range. */
  void scale(float[] x, int at, float scale, float[] gain, int from, int to);

  /** {@code x_j = float((x_j − mean) · scale) · gain_j + bias_j}. */
  void standardize(
      float[] x, double mean, double scale, float[] gain, float[] bias, int from, int to);

  /** {@code x_j = x_j / (1 + e^−x_j)}. */
  void silu(float[] x, int from, int to);

  /**
   * {@code x_j = x_j / (1 + e^(−2t))}, {@code t = sqrt(2/π) · (x_j + 0.044715 x_j³)}, in float64.
   */
  void geluTanh(float[] x, int from, int to);

  /** Turns the pairs (a, b) = (x_(at+j), x_(at+half+j)) by the angles of a table. */
  void rotate(float[] x, int at, int half, float[] cos, float[] sin, int table, int from, int to);

  /** {@code scores_j = |w_j|}. */
  void magnitudes(float[] weights, float[] scores, int from, int to);

  /** {@code scores_j = |w_j| · norm_j}. */
  void weighted(float[] weights, float[] norms, float[] scores, int from, int to);

  /** {@code scores_j = (|w_j| / column_j + |w_j| / row) · factor_j}; 0 where w_j is. */
  void relative(
      float[] weights,
      float[] columns,
      float row,
      float[] factors,
      float[] scores,
      int from,
      int to);

  /** The scores' bits, without the sign. */
  void keys(float[] scores, int[] keys, int from, int to);

  /** How many keys are below a limit. */
  int countBelow(int[] keys, int from, int to, int limit);

  /** Copies the keys in [low, high] to {@code found}; returns how many it has then. */
  int collect(int[] keys, int from, int to, int low, int high, int[] found, int size);

  /** {@code x_j = +0} where the key is below a limit. */
  void zeroBelow(float[] x, int[] keys, int limit, int from, int to);

  /**
   * In every {@code group} neighbours, zeroes the {@code count} with the smallest keys; of equal
   * ones the lower column goes first. The range is a multiple of the group.
   */
  void zeroInGroups(float[] x, int[] keys, int count, int group, int from, int to);

  /** Adds to {@code counts[t]} how many scores have keys above {@code limits[t]}. */
  void countAbove(float[] scores, int[] limits, long[] counts, int from, int to);

  /** How many are zero, of either sign. */
  int zeros(float[] x, int from, int to);

  /** Whether all are values that bfloat16 has, also infinite ones or NaN, and none is subnormal. */
  boolean areBfloat16(float[] x, int from, int to);

  /** {@code keys_(at+j)} of {@code w_j² / diagonal_j²}. */
  void errorKeys(float[] weights, float[] diagonal, int[] keys, int at, int from, int to);

  /**
   * SparseGPT's sweep ({@link ErrorCompensation}) over a block of columns. A negative zero among
   * the weights becomes a positive one.
   *
   * @param rows {@code count} rows of the block behind each other, changed
   * @param errors e, as {@code rows}; replaced
   */
  void compensate(ErrorCompensation.Columns block, float[] rows, int count, float[] errors);

  /**
   * Products with a block of sparse weights: {@code y_(r, t) = fma(w_n, x_(j(n), t), y_(r, t))} for
   * {@link #TOKENS} tokens t, of each row r the weights n one after the other.
   *
   * @param tile x, (columns, TOKENS), where {@code index} says, and y, (rows, TOKENS), from {@code
   *     at} on
   * @param weights row behind row, from {@code rows + 1} on
   * @param index where in {@code weights} each row begins, and where the last ends; then, beside
   *     each weight, where in {@code tile} the inputs of its column begin
   */
  void addSparse(float[] tile, int at, float[] weights, char[] index, int rows);
}
