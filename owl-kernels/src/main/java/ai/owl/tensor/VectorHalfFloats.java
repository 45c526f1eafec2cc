package ai.owl.tensor;

import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** {@link HalfFloats} as many at once as the processor's vectors hold. */
final class VectorHalfFloats implements HalfFloats {
  /** Half of the widest, as everywhere in this process: see {@code ai.owl.kernel.VectorRows}. */
  private static final VectorSpecies<Float> FLOATS =
      VectorSpecies.of(
          float.class, VectorShape.forBitSize(FloatVector.SPECIES_PREFERRED.vectorBitSize() / 2));

  private static final VectorSpecies<Integer> INTS = FLOATS.withLanes(int.class);
  private static final VectorShape HALF = VectorShape.forBitSize(FLOATS.vectorBitSize() / 2);
  private static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class, HALF);
  private static final VectorSpecies<Byte> BYTES = VectorSpecies.of(byte.class, HALF);
  private static final int LANES = FLOATS.length();

  private final PlainHalfFloats plain = new PlainHalfFloats();

  /** The upper halves of the ints are copies of the sign. */
  private static IntVector load(byte[] source, int at) {
    return (IntVector)
        ByteVector.fromArray(BYTES, source, at)
            .reinterpretAsShorts()
            .convertShape(VectorOperators.S2I, INTS, 0);
  }

  private static void store(IntVector halves, byte[] target, int at) {
    halves.convertShape(VectorOperators.I2S, SHORTS, 0).reinterpretAsBytes().intoArray(target, at);
  }

  @Override
  public void widenBfloat16(byte[] source, int offset, float[] target, int from, int count) {
    int i = from;
    for (; i <= count - LANES; i += LANES) {
      load(source, offset + 2 * i)
          .lanewise(VectorOperators.LSHL, 16)
          .reinterpretAsFloats()
          .intoArray(target, i);
    }
    plain.widenBfloat16(source, offset, target, i, count);
  }

  @Override
  public void narrowBfloat16(float[] source, int from, int count, byte[] target, int offset) {
    int i = from;
    for (; i <= count - LANES; i += LANES) {
      IntVector bits = FloatVector.fromArray(FLOATS, source, i).reinterpretAsInts();
      IntVector upper = bits.lanewise(VectorOperators.LSHR, 16);
      IntVector rounded = bits.add(0x7fff).add(upper.and(1)).lanewise(VectorOperators.LSHR, 16);
      VectorMask<Integer> isNan = bits.and(0x7fffffff).compare(VectorOperators.GT, 0x7f800000);
      store(rounded.blend(upper.or(0x40), isNan), target, offset + 2 * i);
    }
    plain.narrowBfloat16(source, i, count, target, offset);
  }

  @Override
  public void widenFloat16(byte[] source, int offset, float[] target, int from, int count) {
    int i = from;
    for (; i <= count - LANES; i += LANES) {
      IntVector half = load(source, offset + 2 * i);
      IntVector sign = half.and(0x8000).lanewise(VectorOperators.LSHL, 16);
      IntVector shifted = half.and(0x7fff).lanewise(VectorOperators.LSHL, 13);
      // As in halfToFloat: exact, and subnormals become normal.
      IntVector value = shifted.reinterpretAsFloats().mul(0x1p112f).reinterpretAsInts();
      VectorMask<Integer> isSpecial = shifted.compare(VectorOperators.GE, 0x7c00 << 13);
      value
          .blend(shifted.or(0x7f800000), isSpecial)
          .or(sign)
          .reinterpretAsFloats()
          .intoArray(target, i);
    }
    plain.widenFloat16(source, offset, target, i, count);
  }

  @Override
  public void narrowFloat16(float[] source, int from, int count, byte[] target, int offset) {
    int i = from;
    for (; i <= count - LANES; i += LANES) {
      IntVector bits = FloatVector.fromArray(FLOATS, source, i).reinterpretAsInts();
      IntVector sign = bits.lanewise(VectorOperators.LSHR, 16).and(0x8000);
      IntVector magnitude = bits.and(0x7fffffff);
      IntVector odd = magnitude.lanewise(VectorOperators.LSHR, 13).and(1);
      IntVector half =
          magnitude.add(0xfff).add(odd).lanewise(VectorOperators.LSHR, 13).sub(112 << 10);
      // Subnormals: in units of 2^-24, which adding 2^23 rounds to.
      IntVector units =
          magnitude
              .reinterpretAsFloats()
              .mul(0x1p24f)
              .add(0x1p23f)
              .reinterpretAsInts()
              .sub(Float.floatToRawIntBits(0x1p23f));
      half =
          half.blend(
                  units, magnitude.compare(VectorOperators.LT, Float.floatToRawIntBits(0x1p-14f)))
              .blend(0x7c00, magnitude.compare(VectorOperators.GE, Float.floatToRawIntBits(65520f)))
              .blend(0x7e00, magnitude.compare(VectorOperators.GT, 0x7f800000));
      store(half.or(sign), target, offset + 2 * i);
    }
    plain.narrowFloat16(source, i, count, target, offset);
  }

  @Override
  public void cutOffBfloat16(float[] source, int from, int count, byte[] target) {
    int i = from;
    for (; i <= count - LANES; i += LANES) {
      FloatVector value = FloatVector.fromArray(FLOATS, source, i);
      IntVector leading = value.reinterpretAsInts().and(0xffff0000);
      store(leading.lanewise(VectorOperators.LSHR, 16), target, 2 * i);
      value.sub(leading.reinterpretAsFloats()).intoArray(source, i);
    }
    plain.cutOffBfloat16(source, i, count, target);
  }
}
