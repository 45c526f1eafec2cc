package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * Bfloat16 weights in tiles of rows, each in the layout that oneDNN multiplies by fastest: 2 bytes
 * a weight. A product is cut into tiles of a fixed size, each made by one thread, so that no bit of
 * it depends on how many threads there are.
 */
final class PackedWeights implements LinearWeights {
  private static final int TILE = 1024; // rows of weights, columns of the product

  /**
   * @param first row of the whole weights
   * @param memory what the tile owns; what is packed begins on its first cache line
   */
  private record Tile(long first, OneDnn.Packing packing, BytePointer memory) {
    Pointer data() {
      return OneDnn.aligned(memory);
    }
  }

  private final long first;
  private final long rows;
  private final int cols;
  private final int pieces;
  private final boolean owner;
  private final List<Tile> tiles;

  /**
   * Packs weights.
   *
   * @param weights rounded to bfloat16, where they are something else; still the caller's
   * @param parts numbers of rows; no tile lies in two of them
   * @param pieces what x is taken apart into
   */
  PackedWeights(Matrix weights, List<Integer> parts, int pieces) {
    this(0, weights.rows(), weights.cols(), pieces, true, new ArrayList<>());
    try {
      long row = 0;
      for (int part : parts) {
        for (int at = 0; at < part; at += TILE) {
          OneDnn.Packing packing = new OneDnn.Packing(Math.min(TILE, part - at), cols);
          tiles.add(
              new Tile(row + at, packing, new BytePointer(packing.bytes() + OneDnn.ALIGNMENT)));
        }
        row += part;
      }
      replace(weights);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private PackedWeights(
      long first, long rows, int cols, int pieces, boolean owner, List<Tile> tiles) {
    this.first = first;
    this.rows = rows;
    this.cols = cols;
    this.pieces = pieces;
    this.owner = owner;
    this.tiles = tiles;
  }

  /**
   * Whether bfloat16 holds these weights exactly, packed: the values it has, but for subnormal
   * ones, which the processor's conversion takes for zero.
   */
  static boolean holds(Matrix weights) {
    AtomicBoolean holds = new AtomicBoolean(true);
    RowChunks.forEach(
        weights,
        (chunk, from, to) -> {
          float[] row = new float[weights.cols()];
          for (long r = from; r < to && holds.get(); r++) {
            weights.row(r, row);
            if (!RowCode.forward().areBfloat16(row, 0, row.length)) {
              holds.set(false);
            }
          }
        });
    return holds.get();
  }

  @Override
  public long rows() {
    return rows;
  }

  @Override
  public int cols() {
    return cols;
  }

  @Override
  public void multiply(Operand x, boolean accumulate, Matrix out) {
    x.takeApart(pieces);
    int m = (int) x.x().rows();
    int tilesDown = (m + OneDnn.ROWS - 1) / OneDnn.ROWS;
    Blas.forEachTile(
        tilesDown * tiles.size(),
        number -> {
          int row = number % tilesDown * OneDnn.ROWS;
          int count = Math.min(OneDnn.ROWS, m - row);
          Tile tile = tiles.get(number / tilesDown);
          Pointer c = out.pointer(row, (int) (tile.first() - first));
          // The smallest piece first: what it adds would be lost in the sum of the others.
          for (int p = pieces - 1; p >= 0; p--) {
            boolean adds = accumulate || p < pieces - 1;
            new OneDnn.Product(count, tile.packing(), out.cols(), adds)
                .multiply(x.piece(p, row), tile.data(), c);
          }
        });
  }

  @Override
  public PackedWeights part(long row, long count) {
    List<Tile> own = new ArrayList<>();
    long covered = 0;
    for (Tile tile : tiles) {
      if (tile.first() >= row && tile.first() < row + count) {
        own.add(tile);
        covered += tile.packing().n();
      }
    }
    if (covered != count) {
      throw new IllegalArgumentException(
          "Cannot take " + count + " rows from row " + row + " on: they are packed otherwise");
    }
    return new PackedWeights(row, count, cols, pieces, false, own);
  }

  @Override
  public Matrix matrix() {
    Matrix weights = new Matrix(rows, cols);
    Blas.forEachTile(
        tiles.size(),
        number -> {
          Tile tile = tiles.get(number);
          tile.packing().unpack(tile.data(), weights.pointer(tile.first() - first, 0));
        });
    return weights;
  }

  @Override
  public LinearWeights replace(Matrix changed) {
    Blas.forEachTile(
        tiles.size(),
        number -> {
          Tile tile = tiles.get(number);
          tile.packing().pack(changed.pointer(tile.first() - first, 0), tile.data());
        });
    return this;
  }

  @Override
  public void close() {
    if (owner) {
      tiles.forEach(tile -> tile.memory().close());
      tiles.clear();
    }
  }
}
