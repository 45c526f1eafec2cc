package ai.owl.tensor;

/**
 * Decodes and encodes the two 16-bit float types, as they stand in checkpoints: little-endian.
 * Rounds to nearest, ties to even. All implementations give the same bits.
 */
interface HalfFloats {
  /** {@code target[i]} from the two bytes at {@code offset + 2i}, for i in [from, count). */
  void widenBfloat16(byte[] source, int offset, float[] target, int from, int count);

  /** {@code source[i]} into the two bytes at {@code offset + 2i}, for i in [from, count). */
  void narrowBfloat16(float[] source, int from, int count, byte[] target, int offset);

  /** {@code target[i]} from the two bytes at {@code offset + 2i}, for i in [from, count). */
  void widenFloat16(byte[] source, int offset, float[] target, int from, int count);

  /** {@code source[i]} into the two bytes at {@code offset + 2i}, for i in [from, count). */
  void narrowFloat16(float[] source, int from, int count, byte[] target, int offset);

  /**
   * Cuts {@code source[i]} off behind the 8 leading bits, the bfloat16 next to it on the side of
   * zero, which goes into the two bytes at {@code 2i}; the rest stays, for i in [from, count).
   */
  void cutOffBfloat16(float[] source, int from, int count, byte[] target);
}
