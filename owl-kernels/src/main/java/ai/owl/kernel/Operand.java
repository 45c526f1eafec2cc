package ai.owl.kernel;

import ai.owl.tensor.Bfloat16;
import ai.owl.tensor.Matrix;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;

/**
 * What linear layers read, in the forms that their products want it in. A form is made when the
 * first layer asks for it, and serves all layers that read the same input: queries, keys and
 * values, gate and up. One form at a time: layers of one input hardly ever want two. Owned, and
 * used again for the next input.
 */
public final class Operand implements AutoCloseable {
  private static final int ROWS = 32; // taken apart together

  /** Columns that are turned to rows together: what is read and written stays in the cache. */
  private static final int TURNED = 64;

  private static final int TOKENS = RowOperations.TOKENS;
  private static final int TRANSPOSED = -1;

  private BytePointer memory = new BytePointer();
  private BytePointer data; // on a cache line
  private Matrix x;

  /** Number of pieces, or {@link #TRANSPOSED}; 0 for nothing yet. */
  private int made;

  /**
   * Bytes that an input takes besides itself, at most: other machines of a cluster may have
   * instructions that this one does not.
   *
   * @param width number of features
   */
  public static long bytes(long width, int tokens, Compute compute) {
    long pieces = (long) Short.BYTES * width * tokens * compute.mostPieces();
    return Math.max(pieces, Float.BYTES * width * tiles(tokens) * TOKENS);
  }

  private static long tiles(long rows) {
    return (rows + TOKENS - 1) / TOKENS;
  }

  /** Takes another input; what was made of the last one is forgotten. */
  public Operand of(Matrix x) {
    this.x = x;
    this.made = 0;
    return this;
  }

  Matrix x() {
    return x;
  }

  private void reserve(long bytes) {
    if (memory.capacity() < bytes + OneDnn.ALIGNMENT) {
      close(); // a closed pointer still tells its capacity: none is kept if the next cannot be had
      memory = new BytePointer(bytes + OneDnn.ALIGNMENT);
      data = OneDnn.aligned(memory);
    }
  }

  /**
   * Makes bfloat16 pieces: one is x rounded to nearest; of three the first is x cut off behind its
   * 8 leading bits, the second the same of what is left, and the third what is left then, so that
   * {@code x = x₀ + x₁ + x₂} exactly, float32 having 24 bits.
   */
  void takeApart(int count) {
    if (made == count) {
      return;
    }
    reserve(count * pieceBytes());
    int tiles = (int) ((x.rows() + ROWS - 1) / ROWS);
    Blas.forEachTile(
        tiles,
        tile -> {
          float[] row = new float[x.cols()];
          byte[] piece = new byte[x.cols() * Short.BYTES];
          long end = Math.min(x.rows(), (tile + 1L) * ROWS);
          for (long r = (long) tile * ROWS; r < end; r++) {
            x.row(r, row);
            for (int p = 0; p < count; p++) {
              if (count == 1) {
                Bfloat16.round(row, row.length, piece);
              } else {
                Bfloat16.cutOff(row, row.length, piece);
              }
              piece(p, r).put(piece, 0, piece.length);
            }
          }
        });
    made = count;
  }

  /** Of a piece, which begins on a cache line. */
  private long pieceBytes() {
    long lines = (x.size() * Short.BYTES + OneDnn.ALIGNMENT - 1) / OneDnn.ALIGNMENT;
    return lines * OneDnn.ALIGNMENT;
  }

  /** A piece from a row on. */
  BytePointer piece(int number, long row) {
    return piece(number, row, 0);
  }

  /** A piece from an element on. */
  BytePointer piece(int number, long row, int col) {
    return data.getPointer(number * pieceBytes() + (row * x.cols() + col) * Short.BYTES);
  }

  /** Number of tiles of {@link RowOperations#TOKENS} tokens; the last may have fewer. */
  int tiles() {
    return Math.toIntExact(tiles(x.rows()));
  }

  /**
   * Makes the transpose of each tile, (features, TOKENS), with zeros in place of tokens that the
   * last one lacks.
   */
  void transpose() {
    if (made == TRANSPOSED) {
      return;
    }
    reserve(Float.BYTES * x.cols() * (long) tiles() * TOKENS);
    Blas.forEachTile(
        tiles(),
        tile -> {
          long first = (long) tile * TOKENS;
          int tokens = (int) Math.min(TOKENS, x.rows() - first);
          float[] rows = new float[TOKENS * TURNED];
          float[] columns = new float[TURNED * TOKENS];
          for (int col = 0; col < x.cols(); col += TURNED) {
            int count = Math.min(TURNED, x.cols() - col);
            for (int t = 0; t < tokens; t++) {
              x.copyTo(first + t, col, rows, t * TURNED, count);
            }
            Transposition.of(rows, 0, TOKENS, TURNED, columns, TOKENS);
            transposed(tile, col).put(columns, 0, count * TOKENS);
          }
        });
    made = TRANSPOSED;
  }

  /** The transpose of a tile from a feature on. */
  FloatPointer transposed(int tile, int col) {
    long at = ((long) tile * x.cols() + col) * TOKENS;
    return new FloatPointer(data.getPointer(at * Float.BYTES));
  }

  @Override
  public void close() {
    memory.close();
    memory = new BytePointer();
    made = 0;
  }
}
