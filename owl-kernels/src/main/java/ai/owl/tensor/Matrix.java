package ai.owl.tensor;

import java.nio.FloatBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A row-major float32 matrix, {@code rows × cols}, in memory outside the Java heap, where native
 * kernels work on it without a copy.
 *
 * <p>Mutable, and owned: whoever makes a matrix closes it. Rows are read and written in bulk
 * through heap arrays ({@link #row}, {@link #setRow}); several threads may do so at once on
 * different rows.
 */
public final class Matrix implements AutoCloseable {
  static {
    // JavaCPP would by default refuse more off-heap memory than -Xmx and, close to that, force
    // garbage collections. Matrices are closed by their owners and sized by the block, so the limit
    // would only be in the way; a user who sets one keeps it.
    for (String limit :
        new String[] {"org.bytedeco.javacpp.maxBytes", "org.bytedeco.javacpp.maxPhysicalBytes"}) {
      if (System.getProperty(limit) == null && System.getProperty(limit.toLowerCase()) == null) {
        System.setProperty(limit, "0");
      }
    }
  }

  /** In floats: the 2^30 bytes one buffer holds with ease. */
  private static final int MAX_SEGMENT = 1 << 28;

  /** In bytes, a cache line: vectors and tiles that lie across two of them cost two loads. */
  private static final int ALIGNMENT = 64;

  private final long rows;
  private final int cols;
  private final FloatPointer pointer;
  private final BytePointer memory; // what was allocated; of a view, by its parent
  private final boolean owner;
  private final int segmentRows;
  private final FloatBuffer[] segments;

  /**
   * Allocates a matrix with undefined content.
   *
   * @throws OutOfMemoryError if the memory cannot be had
   */
  public Matrix(long rows, int cols) {
    this(rows, cols, allocate(rows, cols));
  }

  private Matrix(long rows, int cols, BytePointer memory) {
    this(rows, cols, aligned(memory), memory, true);
  }

  private Matrix(long rows, int cols, FloatPointer pointer, BytePointer memory, boolean owner) {
    this.rows = rows;
    this.cols = cols;
    this.pointer = pointer;
    this.memory = memory;
    this.owner = owner;
    this.segmentRows = Math.max(1, MAX_SEGMENT / cols);
    int count = (int) ((rows + segmentRows - 1) / segmentRows);
    this.segments = new FloatBuffer[count];
    for (int s = 0; s < count; s++) {
      long first = (long) s * segmentRows;
      long size = Math.min(segmentRows, rows - first) * cols;
      // Not closed: closing a view of a pointer would free the memory it looks at.
      segments[s] = pointer.getPointer(first * cols).limit(size).asBuffer();
    }
  }

  private static BytePointer allocate(long rows, int cols) {
    if (rows < 0 || cols < 1) {
      throw new IllegalArgumentException("Cannot make a matrix of " + rows + " x " + cols);
    }
    long floats = Math.multiplyExact(rows, (long) cols);
    return new BytePointer(Math.addExact(Math.multiplyExact(floats, Float.BYTES), ALIGNMENT));
  }

  private static FloatPointer aligned(BytePointer memory) {
    long beyond = memory.address() % ALIGNMENT;
    return new FloatPointer(memory.getPointer(beyond == 0 ? 0 : ALIGNMENT - beyond));
  }

  private Matrix(Matrix parent, long rows) {
    this.rows = rows;
    this.cols = parent.cols;
    this.pointer = parent.pointer;
    this.memory = parent.memory;
    this.owner = false;
    this.segmentRows = parent.segmentRows;
    this.segments = parent.segments;
  }

  /** The first rows of this matrix, over the same memory; closing the view does nothing. */
  public Matrix firstRows(long count) {
    if (count < 0 || count > rows) {
      throw new IllegalArgumentException(
          "Cannot take " + count + " rows of a matrix of " + shape());
    }
    return count == rows && !owner ? this : new Matrix(this, count);
  }

  /**
   * The rows [first, first + count) of this matrix, over the same memory; closing the view does
   * nothing.
   */
  public Matrix rows(long first, long count) {
    if (first < 0 || count < 0 || count > rows - first) {
      throw new IllegalArgumentException(
          "Cannot take " + count + " rows from row " + first + " on of a matrix of " + shape());
    }
    return new Matrix(count, cols, pointer.getPointer(first * cols), memory, false);
  }

  /** A matrix with these rows. */
  public static Matrix of(float[][] rows) {
    Matrix matrix = new Matrix(rows.length, rows[0].length);
    for (int i = 0; i < rows.length; i++) {
      matrix.setRow(i, rows[i]);
    }
    return matrix;
  }

  public long rows() {
    return rows;
  }

  public int cols() {
    return cols;
  }

  /** {@code rows * cols}, which for large models exceeds the range of an int. */
  public long size() {
    return rows * cols;
  }

  /** Copies a row into {@code target[0..cols)}. */
  public void row(long row, float[] target) {
    copyTo(row, 0, target, 0, cols);
  }

  /** Copies {@code count} elements of a row, from column {@code col} on. */
  public void copyTo(long row, int col, float[] target, int at, int count) {
    segments[(int) (row / segmentRows)].get(
        (int) (row % segmentRows) * cols + col, target, at, count);
  }

  /** Replaces a row by {@code source[0..cols)}. */
  public void setRow(long row, float[] source) {
    copyFrom(row, 0, source, 0, cols);
  }

  /** Replaces {@code count} elements of a row, from column {@code col} on. */
  public void copyFrom(long row, int col, float[] source, int at, int count) {
    segments[(int) (row / segmentRows)].put(
        (int) (row % segmentRows) * cols + col, source, at, count);
  }

  /** Copies all of {@code other}, which has the same shape. */
  public void set(Matrix other) {
    if (other.rows != rows || other.cols != cols) {
      throw new IllegalArgumentException(
          "Cannot copy a matrix of " + other.shape() + " into one of " + shape());
    }
    FloatPointer.memcpy(pointer, other.pointer, size() * Float.BYTES);
  }

  /** All elements, row by row; for small matrices. */
  public float[] toArray() {
    float[] all = new float[Math.toIntExact(size())];
    for (long r = 0; r < rows; r++) {
      copyTo(r, 0, all, (int) r * cols, cols);
    }
    return all;
  }

  /**
   * The address of element (row, col), for native kernels. The matrix must stay open and reachable
   * while it is used.
   */
  public FloatPointer pointer(long row, int col) {
    return pointer.getPointer(row * cols + col);
  }

  /**
   * This matrix as an ND4J array of shape [rows, cols] over the same memory: what one changes, the
   * other sees.
   */
  public INDArray asNDArray() {
    return Nd4j.create(Nd4j.createBuffer(pointer, size(), DataType.FLOAT), new long[] {rows, cols});
  }

  public String shape() {
    return rows + " x " + cols;
  }

  @Override
  public void close() {
    if (owner) {
      memory.close();
    }
  }

  @Override
  public String toString() {
    return "Matrix[" + shape() + "]";
  }
}
