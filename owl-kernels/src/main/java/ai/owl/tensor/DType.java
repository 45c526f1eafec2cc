package ai.owl.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * The element types of the safetensors format. Weights in {@link #F32}, {@link #F16} and {@link
 * #BF16} can be {@linkplain #widen widened} to float32 for arithmetic and {@linkplain #narrow
 * narrowed} back; tensors of any other type are copied, never read.
 */
public enum DType {
  F64(8),
  F32(4),
  F16(2),
  BF16(2),
  F8_E4M3(1),
  F8_E5M2(1),
  F8_E8M0(1),
  I64(8),
  I32(4),
  I16(2),
  I8(1),
  U64(8),
  U32(4),
  U16(2),
  U8(1),
  BOOL(1);

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /** Size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /** Whether weights of this type can be computed with. */
  public boolean isComputable() {
    return this == F32 || this == F16 || this == BF16;
  }

  /** The type that a safetensors header calls {@code name}, if there is one. */
  public static Optional<DType> parse(String name) {
    for (DType type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }

  /**
   * Decodes {@code count} little-endian elements of {@code source}, starting at byte {@code
   * offset}, into {@code target[0..count)}. Exact: every value of the three computable types is a
   * float32.
   */
  public void widen(byte[] source, int offset, float[] target, int count) {
    ByteBuffer bytes =
        ByteBuffer.wrap(source, offset, count * this.bytes).order(ByteOrder.LITTLE_ENDIAN);
    switch (this) {
      case F32 -> bytes.asFloatBuffer().get(target, 0, count);
      case BF16 -> {
        for (int i = 0, at = offset; i < count; i++, at += 2) {
          int bits = (source[at] & 0xff) | (source[at + 1] << 8);
          target[i] = Float.intBitsToFloat(bits << 16);
        }
      }
      case F16 -> {
        for (int i = 0, at = offset; i < count; i++, at += 2) {
          target[i] = halfToFloat((source[at] & 0xff) | (source[at + 1] << 8));
        }
      }
      default -> throw new IllegalStateException(this + " weights cannot be computed with");
    }
  }

  /**
   * Encodes {@code source[0..count)} as little-endian elements of this type into {@code target}
   * from byte {@code offset} on, rounding to nearest, ties to even. Narrowing what {@link #widen}
   * gave returns the same bits.
   */
  public void narrow(float[] source, int count, byte[] target, int offset) {
    ByteBuffer bytes =
        ByteBuffer.wrap(target, offset, count * this.bytes).order(ByteOrder.LITTLE_ENDIAN);
    switch (this) {
      case F32 -> bytes.asFloatBuffer().put(source, 0, count);
      case BF16 -> {
        for (int i = 0, at = offset; i < count; i++, at += 2) {
          int bits = floatToBfloat16(source[i]);
          target[at] = (byte) bits;
          target[at + 1] = (byte) (bits >>> 8);
        }
      }
      case F16 -> {
        for (int i = 0, at = offset; i < count; i++, at += 2) {
          int bits = floatToHalf(source[i]);
          target[at] = (byte) bits;
          target[at + 1] = (byte) (bits >>> 8);
        }
      }
      default -> throw new IllegalStateException(this + " weights cannot be computed with");
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
}
