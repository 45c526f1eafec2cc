package ai.owl.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class Bfloat16Test {
  private static float[] numbers(int count) {
    Random random = new Random(count);
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = Float.intBitsToFloat(random.nextInt());
      if (!Float.isFinite(numbers[i]) || Math.abs(numbers[i]) < 0x1p-100f) {
        numbers[i] = (float) random.nextGaussian();
      }
    }
    return numbers;
  }

  @Test
  void threePiecesAreTheWholeNumber() {
    float[] numbers = numbers(1003);
    float[] rest = numbers.clone();
    float[] sum = new float[rest.length];
    float[] piece = new float[rest.length];
    byte[] bytes = new byte[2 * rest.length];
    for (int p = 0; p < 3; p++) {
      Bfloat16.cutOff(rest, rest.length, bytes);
      DType.BF16.widen(bytes, 0, piece, piece.length);
      for (int i = 0; i < sum.length; i++) {
        sum[i] += piece[i];
      }
    }
    assertThat(sum).isEqualTo(numbers);
    for (float left : rest) {
      assertThat(left).isZero();
    }
  }

  @Test
  void implementationsAreEqualToTheBit() {
    List<HalfFloats> all =
        VectorUnit.isPresent()
            ? List.of(new PlainHalfFloats(), new VectorHalfFloats())
            : List.of(new PlainHalfFloats());
    for (int count : new int[] {1, 15, 16, 17, 200}) {
      float[] expectedRest = null;
      byte[] expected = null;
      for (HalfFloats half : all) {
        float[] rest = numbers(count);
        byte[] bytes = new byte[2 * count];
        half.cutOffBfloat16(rest, 0, count, bytes);
        if (expected != null) {
          assertThat(bytes).isEqualTo(expected);
          assertThat(Arrays.equals(rest, expectedRest)).isTrue();
        }
        expected = bytes;
        expectedRest = rest;
      }
    }
  }
}
