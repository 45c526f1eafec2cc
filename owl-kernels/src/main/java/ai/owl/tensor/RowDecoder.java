package ai.owl.tensor;

import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.ShortPointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Decodes stored rows into a {@link Matrix} with ND4J's conversion kernel, which runs at memory
 * speed. Owns a native staging buffer that it reuses; not for use by several threads at once.
 */
public final class RowDecoder implements AutoCloseable {
  private BytePointer staging = new BytePointer();

  /**
   * Decodes {@code count} rows of {@code target}, from row {@code firstRow} on, that stand as
   * little-endian elements of {@code type} in {@code source} from its beginning. The same values as
   * {@link DType#widen}.
   */
  public void decode(DType type, byte[] source, Matrix target, long firstRow, int count) {
    long elements = (long) count * target.cols();
    int bytes = Math.toIntExact(elements * type.bytes());
    if (type == DType.F32) {
      float[] row = new float[target.cols()];
      for (int r = 0; r < count; r++) {
        type.widen(source, r * target.cols() * Float.BYTES, row, target.cols());
        target.setRow(firstRow + r, row);
      }
      return;
    }
    if (staging.capacity() < bytes) {
      staging.close();
      staging = new BytePointer(bytes);
    }
    staging.put(source, 0, bytes);
    DataType stored = type == DType.BF16 ? DataType.BFLOAT16 : DataType.HALF;
    long[] shape = {1, elements};
    INDArray from =
        Nd4j.create(Nd4j.createBuffer(new ShortPointer(staging), elements, stored), shape);
    INDArray into =
        Nd4j.create(
            Nd4j.createBuffer(target.pointer(firstRow, 0), elements, DataType.FLOAT), shape);
    into.assign(from);
  }

  @Override
  public void close() {
    staging.close();
  }
}
