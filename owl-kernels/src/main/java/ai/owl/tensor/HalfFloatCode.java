package ai.owl.tensor;

import java.lang.invoke.MethodHandle;

/** Which {@link HalfFloats} this process uses now. */
final class HalfFloatCode {
  private static final int COUNT = 1000;

  private static final MethodHandle CHOSEN =
      VectorCode.inPlaceOf(
          HalfFloats.class, new PlainHalfFloats(), VectorHalfFloats::new, HalfFloatCode::exercise);

  private HalfFloatCode() {}

  static HalfFloats chosen() {
    try {
      return (HalfFloats) CHOSEN.invokeExact();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e); // a constant throws nothing
    }
  }

  private static void exercise(HalfFloats code) {
    float[] floats = new float[COUNT];
    byte[] halves = new byte[Short.BYTES * COUNT];
    for (int i = 0; i < COUNT; i++) {
      floats[i] = (i - 500) / 7f;
    }
    for (int call = 0; call < 20; call++) {
      code.narrowFloat16(floats, 0, COUNT, halves, 0);
      code.widenFloat16(halves, 0, floats, 0, COUNT);
      code.narrowBfloat16(floats, 0, COUNT, halves, 0);
      code.widenBfloat16(halves, 0, floats, 0, COUNT);
      code.cutOffBfloat16(floats.clone(), 0, COUNT, halves);
    }
  }
}
