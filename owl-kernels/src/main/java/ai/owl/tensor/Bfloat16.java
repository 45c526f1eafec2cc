package ai.owl.tensor;

/**
 * Float32 numbers as sums of bfloat16 ones. Float32 has 24 bits and bfloat16 8, so three of them
 * hold any number of normal size exactly.
 */
public final class Bfloat16 {
  private Bfloat16() {}

  /**
   * Moves the 8 leading bits of every number into a bfloat16, and leaves the rest.
   *
   * @param numbers replaced by what is left of them, in {@code [0, count)}
   * @param pieces little-endian, from byte 0 on
   */
  public static void cutOff(float[] numbers, int count, byte[] pieces) {
    HalfFloatCode.bfloat16().cutOffBfloat16(numbers, 0, count, pieces);
  }

  /**
   * Rounds numbers to the nearest bfloat16, ties to even.
   *
   * @param rounded little-endian, from byte 0 on
   */
  public static void round(float[] numbers, int count, byte[] rounded) {
    HalfFloatCode.bfloat16().narrowBfloat16(numbers, 0, count, rounded, 0);
  }
}
