package ai.owl.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RowDecoderTest {
  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void decodesEveryPatternAsWidenDoes(DType type) {
    float[] expected = DTypeTest.widenAll(type);
    try (RowDecoder decoder = new RowDecoder();
        Matrix matrix = new Matrix(256, 256)) {
      decoder.decode(type, DTypeTest.allPatterns(), matrix, 0, 256);
      float[] found = matrix.toArray();
      for (int bits = 0; bits < expected.length; bits++) {
        if (Float.floatToIntBits(expected[bits]) != Float.floatToIntBits(found[bits])) {
          fail("%04x is %s, not %s", bits, expected[bits], found[bits]);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void decodesIntoTheRowsItIsTold(DType type) {
    for (int cols : new int[] {1, 3, 31, 128, 1001}) {
      byte[] source = new byte[5 * cols * type.bytes() + 9];
      float[] values = new float[2 * cols];
      Random random = new Random(cols);
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) random.nextGaussian();
      }
      type.narrow(values, values.length, source, 0);
      type.widen(source, 0, values, values.length);
      try (RowDecoder decoder = new RowDecoder();
          Matrix matrix = new Matrix(4, cols)) {
        float[] row = new float[cols];
        Arrays.fill(row, 7);
        for (int r = 0; r < 4; r++) {
          matrix.setRow(r, row);
        }
        decoder.decode(type, source, matrix, 1, 2);
        float[] all = matrix.toArray();
        for (int i = 0; i < all.length; i++) {
          boolean told = i >= cols && i < 3 * cols;
          assertThat(all[i]).isEqualTo(told ? values[i - cols] : 7);
        }
      }
    }
  }

  @Test
  void usesItsBufferForChunksOfAnySize() {
    try (RowDecoder decoder = new RowDecoder()) {
      for (int rows : new int[] {1, 50, 3, 200, 0}) {
        byte[] source = new byte[rows * 64 * 2];
        for (int i = 1; i < source.length; i += 2) {
          source[i] = 0x3f; // 0.5
        }
        try (Matrix matrix = new Matrix(rows, 64)) {
          if (rows > 0) {
            decoder.decode(DType.BF16, source, matrix, 0, rows);
          }
          assertThat(matrix.toArray()).containsOnly(rows == 0 ? new float[0] : new float[] {0.5f});
        }
      }
    }
  }
}
