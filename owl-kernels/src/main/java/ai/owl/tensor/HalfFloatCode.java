package ai.owl.tensor;

import java.lang.invoke.MethodHandle;
import java.util.function.Consumer;

/** Which {@link HalfFloats} this process uses now, for each of the two types. */
final class HalfFloatCode {
  private static final int COUNT = 500;

  private HalfFloatCode() {}

  static HalfFloats bfloat16() {
    return VectorCode.chosen(OfBfloat16.CHOSEN);
  }

  static HalfFloats float16() {
    return VectorCode.chosen(OfFloat16.CHOSEN);
  }

  // A class each: the JIT takes what is in a static final field for a constant.

  private static final class OfBfloat16 {
    static final MethodHandle CHOSEN =
        choose(
            code -> {
              float[] floats = new float[COUNT];
              byte[] halves = new byte[Short.BYTES * COUNT];
              code.narrowBfloat16(floats, 0, COUNT, halves, 0);
              code.widenBfloat16(halves, 0, floats, 0, COUNT);
              code.cutOffBfloat16(floats, 0, COUNT, halves);
            });
  }

  private static final class OfFloat16 {
    static final MethodHandle CHOSEN =
        choose(
            code -> {
              float[] floats = new float[COUNT];
              byte[] halves = new byte[Short.BYTES * COUNT];
              code.narrowFloat16(floats, 0, COUNT, halves, 0);
              code.widenFloat16(halves, 0, floats, 0, COUNT);
            });
  }

  private static MethodHandle choose(Consumer<HalfFloats> exercise) {
    return VectorCode.inPlaceOf(new PlainHalfFloats(), VectorHalfFloats::new, exercise);
  }
}
