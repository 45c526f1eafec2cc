package ai.owl.tensor;

/** {@link HalfFloats} one by one. */
final class PlainHalfFloats implements HalfFloats {
  @Override
  public void widenBfloat16(byte[] source, int offset, float[] target, int from, int count) {
    for (int i = from, at = offset + 2 * from; i < count; i++, at += 2) {
      int bits = (source[at] & 0xff) | (source[at + 1] << 8);
      target[i] = Float.intBitsToFloat(bits << 16);
    }
  }

  @Override
  public void narrowBfloat16(float[] source, int from, int count, byte[] target, int offset) {
    for (int i = from, at = offset + 2 * from; i < count; i++, at += 2) {
      int bits = floatToBfloat16(source[i]);
      target[at] = (byte) bits;
      target[at + 1] = (byte) (bits >>> 8);
    }
  }

  @Override
  public void widenFloat16(byte[] source, int offset, float[] target, int from, int count) {
    for (int i = from, at = offset + 2 * from; i < count; i++, at += 2) {
      target[i] = halfToFloat((source[at] & 0xff) | (source[at + 1] << 8));
    }
  }

  @Override
  public void narrowFloat16(float[] source, int from, int count, byte[] target, int offset) {
    for (int i = from, at = offset + 2 * from; i < count; i++, at += 2) {
      int bits = floatToHalf(source[i]);
      target[at] = (byte) bits;
      target[at + 1] = (byte) (bits >>> 8);
    }
  }

  /** sign(1) exponent(5, bias 15) mantissa(10) to sign(1) exponent(8, bias 127) mantissa(23). */
  private static float halfToFloat(int half) {
    int sign = (half & 0x8000) << 16;
    int magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) { // infinity, NaN
      return Float.intBitsToFloat(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    }
    // The shifted bits are the value times 2^-112; the product with 2^112 is exact and makes
    // subnormals normal.
    float value = Float.intBitsToFloat(magnitude << 13) * 0x1p112f;
    return Float.intBitsToFloat(Float.floatToRawIntBits(value) | sign);
  }

  private static int floatToHalf(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = bits >>> 16 & 0x8000;
    float magnitude = Math.abs(value);
    if (Float.isNaN(value)) {
      return sign | 0x7e00;
    }
    if (magnitude >= 65520f) { // rounds to 2^16, which float16 does not have
      return sign | 0x7c00;
    }
    if (magnitude < 0x1p-14f) { // subnormal: the unit is 2^-24
      return sign | (int) Math.rint(magnitude * 0x1p24);
    }
    int magnitudeBits = bits & 0x7fffffff;
    int odd = magnitudeBits >>> 13 & 1;
    return sign | (magnitudeBits + 0xfff + odd >>> 13) - (112 << 10);
  }

  private static int floatToBfloat16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return bits >>> 16 | 0x40;
    }
    return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
  }

  @Override
  public void cutOffBfloat16(float[] source, int from, int count, byte[] target) {
    for (int i = from; i < count; i++) {
      int bits = Float.floatToRawIntBits(source[i]) & 0xffff0000;
      target[2 * i] = (byte) (bits >>> 16);
      target[2 * i + 1] = (byte) (bits >>> 24);
      source[i] -= Float.intBitsToFloat(bits);
    }
  }
}
