package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import ai.owl.tensor.Matrix;
import java.util.Arrays;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.ShortPointer;
import org.junit.jupiter.api.Test;

class OneDnnTest {
  private static final int ROWS = 2;
  private static final int OUT = 16;
  private static final int IN = 32;
  private static final short ONE = (short) (Float.floatToRawIntBits(1f) >>> 16);

  /** A shape is its stride, too. What is planned for one that is not kept is used, then freed. */
  @Test
  void multipliesByMoreShapesThanItKeeps() {
    assumeThat(OneDnn.hasBfloat16()).isTrue();
    OneDnn.Packing packing = new OneDnn.Packing(OUT, IN);
    float[][] rows = new float[OUT][IN];
    for (int i = 0; i < OUT; i++) {
      Arrays.fill(rows[i], i);
    }
    short[] ones = new short[ROWS * IN];
    Arrays.fill(ones, ONE);
    try (Matrix weights = Matrix.of(rows);
        BytePointer packed = new BytePointer(packing.bytes() + OneDnn.ALIGNMENT);
        ShortPointer x = new ShortPointer(ones)) {
      packing.pack(weights.pointer(0, 0), OneDnn.aligned(packed));
      for (int stride = OUT; stride < OUT + 2100; stride++) {
        try (Matrix out = new Matrix(ROWS, stride)) {
          new OneDnn.Product(ROWS, packing, stride, false)
              .multiply(x, OneDnn.aligned(packed), out.pointer(0, 0));
          float[] last = new float[OUT];
          out.copyTo(ROWS - 1, 0, last, 0, OUT);
          for (int i = 0; i < OUT; i++) {
            assertThat(last[i]).isEqualTo(i * IN);
          }
        }
      }
      assertThat(OneDnn.Shape.PLANS).hasSizeLessThanOrEqualTo(2000);
    } finally {
      OneDnn.Shape.PLANS
          .keySet()
          .removeIf(
              shape ->
                  shape instanceof OneDnn.Product product && product.weights().equals(packing));
    }
  }
}
