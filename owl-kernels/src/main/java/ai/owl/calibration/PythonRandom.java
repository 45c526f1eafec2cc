package ai.owl.calibration;

import org.apache.commons.math3.random.MersenneTwister;

/**
 * The numbers that CPython's {@code random} module draws after {@code random.seed(seed)}: the
 * published calibration samples are defined by them. MT19937, seeded by {@code init_by_array} with
 * the 32-bit words of the seed's absolute value, least significant first.
 */
final class PythonRandom {
  private final MersenneTwister twister;

  PythonRandom(long seed) {
    long magnitude = Math.abs(seed); // of Long.MIN_VALUE, the right 64 bits
    int low = (int) magnitude;
    int high = (int) (magnitude >>> 32);
    twister = new MersenneTwister(high == 0 ? new int[] {low} : new int[] {low, high});
  }

  /** {@code random.getrandbits(bits)} for 1 to 32 bits. */
  long bits(int bits) {
    return Integer.toUnsignedLong(twister.nextInt()) >>> 32 - bits;
  }

  /** {@code random.randint(0, last)}: uniform on 0 to {@code last}, both included. */
  int upTo(int last) {
    long choices = last + 1L;
    int bits = Long.SIZE - Long.numberOfLeadingZeros(choices);
    long drawn = bits(bits);
    while (drawn >= choices) {
      drawn = bits(bits);
    }
    return (int) drawn;
  }
}
