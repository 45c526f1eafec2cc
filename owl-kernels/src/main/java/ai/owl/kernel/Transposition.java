package ai.owl.kernel;

/** {@code to_(j, i) = from_(i, j)} between heap arrays that stay in the cache. */
final class Transposition {
  private Transposition() {}

  /**
   * Transposes, four rows at once.
   *
   * @param from (rows, cols), row-major from {@code at} on
   * @param to (cols, rows), its rows {@code stride} apart
   */
  static void of(float[] from, int at, int rows, int cols, float[] to, int stride) {
    int i = 0;
    for (; i < rows - 3; i += 4) {
      int a = at + i * cols;
      int b = a + cols;
      int c = b + cols;
      int d = c + cols;
      for (int j = 0, k = i; j < cols; j++, k += stride) {
        to[k] = from[a + j];
        to[k + 1] = from[b + j];
        to[k + 2] = from[c + j];
        to[k + 3] = from[d + j];
      }
    }
    for (; i < rows; i++) {
      for (int j = 0; j < cols; j++) {
        to[j * stride + i] = from[at + i * cols + j];
      }
    }
  }
}
