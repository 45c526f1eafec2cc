package ai.owl.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.fail;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class DTypeTest {
  private static final int PATTERNS = 1 << 16;

  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void widensEveryPatternToItsValue(DType type) {
    float[] values = widenAll(type);
    for (int bits = 0; bits < PATTERNS; bits++) {
      double expected = value(type, bits);
      if (Double.isNaN(expected)) {
        assertThat(values[bits]).isNaN();
      } else if (Double.compare(expected, values[bits]) != 0) {
        fail("%04x is %s, not %s", bits, expected, values[bits]);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void narrowsEveryWidenedPatternToItself(DType type) {
    float[] values = widenAll(type);
    byte[] narrowed = new byte[2 * PATTERNS];
    type.narrow(values, PATTERNS, narrowed, 0);
    for (int bits = 0; bits < PATTERNS; bits++) {
      int found = narrowed[2 * bits] & 0xff | (narrowed[2 * bits + 1] & 0xff) << 8;
      if (Float.isNaN(values[bits])) {
        assertThat(value(type, found)).isNaN(); // the payload may differ
        assertThat(found >> 15).isEqualTo(bits >> 15);
      } else if (found != bits) {
        fail("%04x became %04x", bits, found);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void roundsToTheNearestAndTiesToEven(DType type) {
    double[] finite = finite(type);
    Random random = new Random(5);
    for (int i = 0; i < 300_000; i++) {
      checkRounding(type, finite, Float.intBitsToFloat(random.nextInt()));
    }
    for (int i = 0; i < 100_000; i++) {
      checkRounding(type, finite, (float) (random.nextGaussian() * Math.pow(2, -i % 30)));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void roundsEveryMidpointAndItsNeighbours(DType type) {
    double[] finite = finite(type);
    for (int i = 0; i < finite.length; i++) {
      double above = i + 1 < finite.length ? finite[i + 1] : beyond(type);
      float middle = (float) ((finite[i] + above) / 2); // one more bit than the type has: exact
      for (float value : new float[] {middle, Math.nextUp(middle), Math.nextDown(middle)}) {
        checkRounding(type, finite, value);
        checkRounding(type, finite, -value);
      }
    }
  }

  @Test
  void overflowsToInfinity() {
    assertThat(narrow(DType.F16, 65504f)).isEqualTo(0x7bff);
    assertThat(narrow(DType.F16, Math.nextDown(65520f))).isEqualTo(0x7bff);
    assertThat(narrow(DType.F16, 65520f)).isEqualTo(0x7c00);
    assertThat(narrow(DType.F16, -1e30f)).isEqualTo(0xfc00);
    assertThat(narrow(DType.F16, Float.NEGATIVE_INFINITY)).isEqualTo(0xfc00);
    assertThat(narrow(DType.BF16, Float.MAX_VALUE)).isEqualTo(0x7f80);
    assertThat(narrow(DType.BF16, -Float.MAX_VALUE)).isEqualTo(0xff80);
    assertThat(narrow(DType.BF16, Float.POSITIVE_INFINITY)).isEqualTo(0x7f80);
  }

  @Test
  void keepsSubnormals() {
    assertThat(narrow(DType.F16, 0x1p-24f)).isEqualTo(0x0001);
    assertThat(narrow(DType.F16, 0x1p-25f)).isEqualTo(0x0000);
    assertThat(narrow(DType.F16, Math.nextUp(0x1p-25f))).isEqualTo(0x0001);
    assertThat(narrow(DType.F16, 0x1.8p-24f)).isEqualTo(0x0002);
    assertThat(narrow(DType.F16, Math.nextDown(0x1p-14f))).isEqualTo(0x0400);
    assertThat(narrow(DType.BF16, 0x1p-133f)).isEqualTo(0x0001);
    assertThat(narrow(DType.BF16, Float.MIN_VALUE)).isEqualTo(0x0000);
  }

  @Test
  void keepsTheSignOfZero() {
    for (DType type : new DType[] {DType.F16, DType.BF16}) {
      assertThat(narrow(type, 0f)).isEqualTo(0x0000);
      assertThat(narrow(type, -0f)).isEqualTo(0x8000);
      assertThat(narrow(type, -Float.MIN_VALUE)).isEqualTo(0x8000);
    }
  }

  @Test
  void keepsNanWhateverItsPayload() {
    for (int bits : new int[] {0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x7fc00000}) {
      for (DType type : new DType[] {DType.F16, DType.BF16}) {
        assertThat(value(type, narrow(type, Float.intBitsToFloat(bits)))).isNaN();
      }
    }
  }

  @Test
  void carriesFloat32Unchanged() {
    byte[] bytes = new byte[4000];
    new Random(7).nextBytes(bytes);
    float[] values = new float[999];
    DType.F32.widen(bytes, 4, values, 999);
    byte[] back = new byte[4000];
    DType.F32.narrow(values, 999, back, 4);
    assertThat(Arrays.copyOfRange(back, 4, 4000)).isEqualTo(Arrays.copyOfRange(bytes, 4, 4000));
  }

  @Test
  void startsWhereItIsTold() {
    for (DType type : new DType[] {DType.F32, DType.F16, DType.BF16}) {
      byte[] bytes = new byte[3 + 2 * type.bytes()];
      type.narrow(new float[] {1.5f, -2f, 9f}, 2, bytes, 3);
      assertThat(bytes).startsWith(0, 0, 0);
      float[] values = {7, 7, 7};
      type.widen(bytes, 3, values, 2);
      assertThat(values).containsExactly(1.5f, -2f, 7f);
    }
  }

  @Test
  void refusesArithmeticWithOtherTypes() {
    assertThat(DType.I8.isComputable()).isFalse();
    assertThatThrownBy(() -> DType.I8.widen(new byte[1], 0, new float[1], 1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("I8 weights cannot be computed with");
    assertThatThrownBy(() -> DType.F64.narrow(new float[1], 1, new byte[8], 0))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void knowsTheNamesOfTheFormat() {
    for (DType type : DType.values()) {
      assertThat(DType.parse(type.name())).contains(type);
    }
    assertThat(DType.parse("bf16")).isEmpty();
    assertThat(DType.parse("F4")).isEmpty();
  }

  private static void checkRounding(DType type, double[] finite, float value) {
    int found = narrow(type, value);
    if (Float.isNaN(value)) {
      assertThat(value(type, found)).isNaN();
      return;
    }
    int expected = nearest(type, finite, Math.abs((double) value));
    if (Math.copySign(1f, value) < 0) {
      expected |= 0x8000;
    }
    if (found != expected) {
      fail("%a became %04x, not %04x", value, found, expected);
    }
  }

  /** By search among all numbers of the type; pattern i is the i-th number from zero on. */
  private static int nearest(DType type, double[] finite, double magnitude) {
    int at = Arrays.binarySearch(finite, magnitude);
    if (at >= 0) {
      return at;
    }
    int above = -at - 1;
    int below = above - 1;
    double upper = above < finite.length ? finite[above] : beyond(type);
    double toUpper = upper - magnitude;
    double toLower = magnitude - finite[below];
    if (toUpper == toLower) {
      return above % 2 == 0 ? above : below;
    }
    return toUpper < toLower ? above : below;
  }

  /** What would follow the largest number if the exponent went on: it stands for infinity. */
  private static double beyond(DType type) {
    return type == DType.F16 ? 0x1p16 : 0x1p128;
  }

  private static double[] finite(DType type) {
    int count = type == DType.F16 ? 0x7c00 : 0x7f80;
    double[] values = new double[count];
    for (int bits = 0; bits < count; bits++) {
      values[bits] = value(type, bits);
    }
    return values;
  }

  /** The number of a pattern, from the definition of IEEE 754. */
  private static double value(DType type, int bits) {
    int mantissaBits = type == DType.F16 ? 10 : 7;
    int exponentBits = 15 - mantissaBits;
    int bias = (1 << exponentBits - 1) - 1;
    int exponent = bits >> mantissaBits & (1 << exponentBits) - 1;
    int mantissa = bits & (1 << mantissaBits) - 1;
    double sign = bits >> 15 == 0 ? 1 : -1;
    if (exponent == (1 << exponentBits) - 1) {
      return mantissa == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
    }
    double fraction = (double) mantissa / (1 << mantissaBits);
    return exponent == 0
        ? sign * fraction * Math.pow(2, 1 - bias)
        : sign * (1 + fraction) * Math.pow(2, exponent - bias);
  }

  private static int narrow(DType type, float value) {
    byte[] bytes = new byte[2];
    type.narrow(new float[] {value}, 1, bytes, 0);
    return bytes[0] & 0xff | (bytes[1] & 0xff) << 8;
  }

  static float[] widenAll(DType type) {
    float[] values = new float[PATTERNS];
    type.widen(allPatterns(), 0, values, PATTERNS);
    return values;
  }

  static byte[] allPatterns() {
    byte[] bytes = new byte[2 * PATTERNS];
    for (int bits = 0; bits < PATTERNS; bits++) {
      bytes[2 * bits] = (byte) bits;
      bytes[2 * bits + 1] = (byte) (bits >> 8);
    }
    return bytes;
  }
}
