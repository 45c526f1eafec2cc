package ai.owl.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
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
    switch (this) {
      case F32 -> floats(source, offset, count).get(target, 0, count);
      case BF16 -> HalfFloatCode.bfloat16().widenBfloat16(source, offset, target, 0, count);
      case F16 -> HalfFloatCode.float16().widenFloat16(source, offset, target, 0, count);
      default -> throw new IllegalStateException(this + " weights cannot be computed with");
    }
  }

  /**
   * Encodes {@code source[0..count)} as little-endian elements of this type into {@code target}
   * from byte {@code offset} on, rounding to nearest, ties to even. Narrowing what {@link #widen}
   * gave returns the same bits.
   */
  public void narrow(float[] source, int count, byte[] target, int offset) {
    switch (this) {
      case F32 -> floats(target, offset, count).put(source, 0, count);
      case BF16 -> HalfFloatCode.bfloat16().narrowBfloat16(source, 0, count, target, offset);
      case F16 -> HalfFloatCode.float16().narrowFloat16(source, 0, count, target, offset);
      default -> throw new IllegalStateException(this + " weights cannot be computed with");
    }
  }

  private static FloatBuffer floats(byte[] bytes, int offset, int count) {
    return ByteBuffer.wrap(bytes, offset, count * Float.BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer();
  }
}
