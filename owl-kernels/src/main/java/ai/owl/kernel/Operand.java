package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.ShortPointer;

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
          short[] piece = new short[x.cols()];
          long end = Math.min(x.rows(), (tile + 1L) * ROWS);
          for (long r = (long) tile * ROWS; r < end; r++) {
            x.row(r, row);
            for (int p = 0; p < count; p++) {
              if (count == 1) {
                round(row, piece);
              } else {
                cutOff(row, piece);
              }
              new ShortPointer(piece(p, r)).put(piece, 0, piece.length);
            }
          }
        });
    made = count;
  }

  private static void round(float[] row, short[] rounded) {
    for (int j = 0; j < row.length; j++) {
      int bits = Float.floatToRawIntBits(row[j]);
      rounded[j] = (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }
  }

  /** Moves the leading bits of the row's numbers into a piece, and leaves the rest. */
  private static void cutOff(float[] row, short[] piece) {
    for (int j = 0; j < row.length; j++) {
      int bits = Float.floatToRawIntBits(row[j]) & 0xffff0000;
      piece[j] = (short) (bits >>> 16);
      row[j] -= Float.intBitsToFloat(bits);
    }
  }

  /** A piece from a row on. */
  Pointer piece(int number, long row) {
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
