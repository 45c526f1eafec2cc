package ai.owl.checkpoint;

import ai.owl.tensor.Matrix;
import ai.owl.tensor.RowDecoder;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads tensors, as float32 or byte for byte, through buffers of bounded size.
 *
 * <p>Keeps the files it has opened until it is closed. What it hands out as numbers is finite:
 * weights with NaN or infinite values are refused. Not for use by several threads at once.
 */
public final class TensorReader implements AutoCloseable {
  private static final int MATRIX_CHUNK = 8 << 20;
  private static final int COPY_CHUNK = 4 << 20;
  // Reading a gap costs less than another request, up to about this size.
  private static final int ROWS_GAP = 256 << 10;
  private static final int ROWS_CHUNK = 4 << 20;
  private static final int MAX_ARRAY = Integer.MAX_VALUE - 8;

  /** Takes rows one by one. */
  @FunctionalInterface
  public interface RowConsumer {
    /**
     * @param values the row; the array is used again for the next one
     */
    void accept(long row, float[] values) throws IOException;
  }

  private final Storage storage;
  private final Map<String, Storage.Reader> files = new HashMap<>();
  private final RowDecoder decoder = new RowDecoder();
  private byte[] buffer = new byte[0];

  public TensorReader(Storage storage) {
    this.storage = storage;
  }

  /**
   * Reads a matrix (rows, cols) of a computable type. The caller closes it.
   *
   * @throws MalformedCheckpointException if it is of another type or shape, holds NaN or infinite
   *     values, or if its file has become too short
   */
  public Matrix readMatrix(TensorRef tensor) throws IOException {
    return readMatrix(tensor, 0, checkMatrix(tensor));
  }

  /**
   * Reads the rows [firstRow, firstRow + rows) of a matrix; they become rows 0, 1, … of the result.
   */
  public Matrix readMatrix(TensorRef tensor, long firstRow, long rows) throws IOException {
    long all = checkMatrix(tensor);
    if (firstRow < 0 || rows < 0 || rows > all - firstRow) {
      throw new IllegalArgumentException(
          "Cannot read " + rows + " rows from row " + firstRow + " on of " + described(tensor));
    }
    int cols = (int) (long) tensor.shape().get(1);
    int rowBytes = cols * tensor.type().bytes();
    int chunkRows = Math.max(1, MATRIX_CHUNK / rowBytes);
    float[] row = new float[cols];
    Matrix matrix = new Matrix(rows, cols);
    try {
      for (long r = 0; r < rows; r += chunkRows) {
        int count = (int) Math.min(chunkRows, rows - r);
        byte[] bytes = read(tensor, (firstRow + r) * rowBytes, count * rowBytes);
        decoder.decode(tensor.type(), bytes, matrix, r, count);
        for (int i = 0; i < count; i++) {
          matrix.row(r + i, row);
          checkFinite(tensor, firstRow + r + i, row);
        }
      }
      return matrix;
    } catch (Throwable e) {
      matrix.close();
      throw e;
    }
  }

  /**
   * Reads selected rows of a matrix, such as the embeddings of the tokens that occur; neighbours
   * share a read.
   *
   * @param rows strictly increasing
   */
  public void readRows(TensorRef tensor, long[] rows, RowConsumer consumer) throws IOException {
    long all = checkMatrix(tensor);
    for (int i = 0; i < rows.length; i++) {
      if (rows[i] < 0 || rows[i] >= all || i > 0 && rows[i] <= rows[i - 1]) {
        throw new IllegalArgumentException(
            "Cannot read row " + rows[i] + " of " + described(tensor) + " at this place");
      }
    }
    int cols = (int) (long) tensor.shape().get(1);
    int rowBytes = cols * tensor.type().bytes();
    float[] values = new float[cols];
    int first = 0;
    while (first < rows.length) {
      int last = first;
      while (last + 1 < rows.length
          && (rows[last + 1] - rows[last] - 1) * rowBytes <= ROWS_GAP
          && (rows[last + 1] - rows[first] + 1) * rowBytes <= ROWS_CHUNK) {
        last++;
      }
      int length = (int) ((rows[last] - rows[first] + 1) * rowBytes);
      byte[] bytes = read(tensor, rows[first] * rowBytes, length);
      for (int i = first; i <= last; i++) {
        tensor.type().widen(bytes, (int) ((rows[i] - rows[first]) * rowBytes), values, cols);
        checkFinite(tensor, rows[i], values);
        consumer.accept(rows[i], values);
      }
      first = last + 1;
    }
  }

  /** Reads a vector (n) of a computable type, such as the weight of a norm or a bias. */
  public float[] readVector(TensorRef tensor) throws IOException {
    checkComputable(tensor, 1);
    if (tensor.bytes() > MAX_ARRAY) {
      throw unusable(tensor, "a vector of " + tensor.bytes() + " bytes does not fit into memory");
    }
    float[] values = new float[(int) tensor.elements()];
    byte[] bytes = read(tensor, 0, (int) tensor.bytes());
    tensor.type().widen(bytes, 0, values, values.length);
    checkFinite(tensor, -1, values);
    return values;
  }

  /** Writes the bytes of a tensor, of any type, as they stand in its file. */
  public void copy(TensorRef tensor, OutputStream out) throws IOException {
    for (long at = 0; at < tensor.bytes(); at += COPY_CHUNK) {
      int length = (int) Math.min(COPY_CHUNK, tensor.bytes() - at);
      out.write(read(tensor, at, length), 0, length);
    }
  }

  @Override
  public void close() throws IOException {
    decoder.close();
    IOException failure = null;
    for (Storage.Reader file : files.values()) {
      try {
        file.close();
      } catch (IOException e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    files.clear();
    if (failure != null) {
      throw failure;
    }
  }

  /** The bytes [offset, offset + length) of a tensor, in a buffer that the next call uses again. */
  private byte[] read(TensorRef tensor, long offset, int length) throws IOException {
    if (buffer.length < length) {
      buffer = new byte[length];
    }
    Storage.Reader file = files.get(tensor.file());
    if (file == null) {
      file = storage.open(tensor.file());
      files.put(tensor.file(), file);
    }
    try {
      file.read(tensor.position() + offset, buffer, 0, length);
    } catch (EOFException e) {
      throw new MalformedCheckpointException(
          "Cannot read "
              + described(tensor)
              + ": it should end at byte "
              + (tensor.position() + tensor.bytes())
              + ", but the file has "
              + file.size()
              + " bytes",
          e);
    }
    return buffer;
  }

  /** Checks that a tensor can be read as a matrix whose rows fit into arrays; its row count. */
  private static long checkMatrix(TensorRef tensor) {
    checkComputable(tensor, 2);
    long cols = tensor.shape().get(1);
    if (cols == 0) {
      throw unusable(tensor, "its rows are empty, shape " + tensor.shape());
    }
    if (cols > MAX_ARRAY / tensor.type().bytes()) {
      throw unusable(tensor, "a row of " + cols + " elements does not fit into memory");
    }
    return tensor.shape().get(0);
  }

  private static void checkComputable(TensorRef tensor, int dimensions) {
    if (!tensor.type().isComputable()) {
      throw unusable(tensor, "it has type " + tensor.type() + ", expected F32, F16 or BF16");
    }
    List<Long> shape = tensor.shape();
    if (shape.size() != dimensions) {
      throw unusable(tensor, "it has shape " + shape + ", expected " + dimensions + " dimensions");
    }
  }

  /**
   * @param row index of the row, for the message; negative for a vector
   */
  private static void checkFinite(TensorRef tensor, long row, float[] values) {
    // x * 0 is a zero for finite x, else NaN, which no sum forgets. Four sums, since each addition
    // waits for the one before it.
    float a = 0;
    float b = 0;
    float c = 0;
    float d = 0;
    int i = 0;
    for (; i + 3 < values.length; i += 4) {
      a += values[i] * 0f;
      b += values[i + 1] * 0f;
      c += values[i + 2] * 0f;
      d += values[i + 3] * 0f;
    }
    for (; i < values.length; i++) {
      a += values[i] * 0f;
    }
    if (!Float.isNaN(a + b + c + d)) {
      return;
    }
    for (int col = 0; col < values.length; col++) {
      if (!Float.isFinite(values[col])) {
        throw unusable(tensor, values[col] + " at [" + (row < 0 ? "" : row + ", ") + col + "]");
      }
    }
    throw new AssertionError("a sum of zeros that is not one");
  }

  private static MalformedCheckpointException unusable(TensorRef tensor, String why) {
    return new MalformedCheckpointException("Cannot use " + described(tensor) + ": " + why);
  }

  private static String described(TensorRef tensor) {
    return tensor.name() + " of " + tensor.file();
  }
}
