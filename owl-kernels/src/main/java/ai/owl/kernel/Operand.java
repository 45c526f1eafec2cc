package ai.owl.kernel;

import ai.owl.tensor.Bfloat16;
import ai.owl.tensor.Matrix;
import org.bytedeco.javacpp.BytePointer;

/**
 * What linear layers read, in the forms that their products want it in. A form is made when the
 * first layer asks for it, and serves all layers that read the same input: queries, keys and
 * values, gate and up. Owned, and used again for the next input.
 */
public final class Operand implements AutoCloseable {
  private static final int ROWS = 32; // taken apart together

  private final BytePointer[] memory = {new BytePointer(), new BytePointer(), new BytePointer()};
  private final BytePointer[] pieces = new BytePointer[memory.length];
  private Matrix x;
  private int made;

  /**
   * Bytes that the largest input takes besides itself, at most: other machines of a cluster may
   * have instructions that this one does not.
   *
   * @param elements of the input
   */
  public static long bytes(long elements, Compute compute) {
    return Short.BYTES * elements * compute.mostPieces();
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

  /**
   * Makes bfloat16 pieces: one is x rounded to nearest; of three the first is x cut off behind its
   * 8 leading bits, the second the same of what is left, and the third what is left then, so that
   * {@code x = x₀ + x₁ + x₂} exactly, float32 having 24 bits.
   */
  void takeApart(int count) {
    if (made == count) {
      return;
    }
    long bytes = x.size() * Short.BYTES;
    for (int p = 0; p < count; p++) {
      if (memory[p].capacity() < bytes + OneDnn.ALIGNMENT) {
        memory[p].close();
        memory[p] = new BytePointer(bytes + OneDnn.ALIGNMENT);
        pieces[p] = OneDnn.aligned(memory[p]);
      }
    }
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

  /** A piece from a row on. */
  BytePointer piece(int number, long row) {
    return pieces[number].getPointer(row * x.cols() * Short.BYTES);
  }

  @Override
  public void close() {
    for (int p = 0; p < memory.length; p++) {
      memory[p].close();
      memory[p] = new BytePointer();
    }
    made = 0;
  }
}
