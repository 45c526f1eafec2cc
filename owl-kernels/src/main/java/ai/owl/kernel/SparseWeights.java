package ai.owl.kernel;

import static ai.owl.kernel.RowOperations.TOKENS;

import ai.owl.tensor.Matrix;
import java.lang.ref.SoftReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.javacpp.BytePointer;

/**
 * Pruned float32 weights, of which only those are multiplied that are not zero: {@code out_to = Σ_j
 * x_tj · w_oj} over the {@code w_oj ≠ 0} in ascending order of j, each added by a fused
 * multiply-add. A row without any gives +0. Nothing else decides a bit of the result: not the
 * tokens that are beside a token, not the threads. A zero hides what it would be multiplied by,
 * also an infinity or a NaN, which a dense product would pass on; but hidden states that have one
 * keep it, since products are only ever added to them.
 *
 * <p>Weights are cut into panels of rows, these into blocks of columns, small enough for the inputs
 * of {@link RowOperations#TOKENS} tokens to stay in the first-level cache while the block's rows go
 * over them. A weight takes 6 bytes, itself and where in the block's inputs its column begins. They
 * stand in the memory that all weights had, each panel in its own place, so that no more is needed
 * than before; where that does not do, zeros are too few.
 *
 * <p>Negative zeros are held as if they were something, so that what is written of a layer is what
 * was read.
 */
final class SparseWeights implements LinearWeights {
  private static final int PANEL = 256; // rows of weights, columns of the product
  private static final int BLOCK = 128; // columns of weights

  /** Tiles of tokens that share what is read of a block. */
  private static final int TILES = 4;

  /** Bytes of panels that are copied aside at once. */
  private static final long ASIDE = 64 << 20;

  /**
   * Rows of a panel.
   *
   * @param first row of the whole weights
   * @param starts how many of its weights are before each block, and how many there are
   */
  private record Place(long first, int rows, int[] starts) {
    int blocks() {
      return starts.length - 1;
    }

    /** Weights that are held. */
    int count() {
      return starts[blocks()];
    }

    /** Of the index of all blocks. */
    int chars() {
      return blocks() * (rows + 1) + count();
    }

    long bytes() {
      return (long) Float.BYTES * count() + (long) Character.BYTES * chars();
    }
  }

  /**
   * What is held of a panel.
   *
   * @param values block behind block, row behind row
   * @param index block behind block, as {@link RowOperations#addSparse} wants it
   */
  private record Panel(Place place, FloatBuffer values, CharBuffer index) {
    static Panel of(Place place, Matrix memory) {
      int bytes = Math.toIntExact(place.bytes());
      // Not closed: closing a view of a pointer would free the memory it looks at.
      ByteBuffer all =
          new BytePointer(memory.pointer(place.first(), 0))
              .limit(bytes)
              .asByteBuffer()
              .order(ByteOrder.nativeOrder());
      int ofValues = place.count() * Float.BYTES;
      return new Panel(
          place,
          all.slice(0, ofValues).order(all.order()).asFloatBuffer(),
          all.slice(ofValues, bytes - ofValues).order(all.order()).asCharBuffer());
    }

    long first() {
      return place.first();
    }

    int rows() {
      return place.rows();
    }

    int blocks() {
      return place.blocks();
    }

    /** Weights before a block. */
    int start(int block) {
      return place.starts()[block];
    }

    private int count(int block) {
      return start(block + 1) - start(block);
    }

    /** Where a block's index begins. */
    int indexAt(int block) {
      return block * (rows() + 1) + start(block);
    }

    /** Copies a block. */
    void block(int block, float[] weights, char[] where) {
      values.get(start(block), weights, rows() + 1, count(block));
      index.get(indexAt(block), where, 0, rows() + 1 + count(block));
    }

    /** Replaces a block. */
    void setBlock(int block, float[] weights, char[] where) {
      values.put(start(block), weights, rows() + 1, count(block));
      index.put(indexAt(block), where, 0, rows() + 1 + count(block));
    }
  }

  private final Matrix memory;
  private final long first;
  private final long rows;
  private final List<Integer> parts;
  private final boolean owner;
  private final List<Panel> panels;

  private SparseWeights(
      Matrix memory,
      long first,
      long rows,
      List<Integer> parts,
      boolean owner,
      List<Panel> panels) {
    this.memory = memory;
    this.first = first;
    this.rows = rows;
    this.parts = parts;
    this.owner = owner;
    this.panels = panels;
  }

  /**
   * Weights for float32 products, without their zeros where that is faster.
   *
   * @param weights owned by what is made of them from here on, which may use their memory otherwise
   * @param parts numbers of rows; no panel lies in two of them
   */
  static LinearWeights orMatrix(Matrix weights, List<Integer> parts) {
    return orMatrix(weights, parts, SparseLimit.share());
  }

  /**
   * The same.
   *
   * @param limit the largest share of weights that may be left
   */
  static LinearWeights orMatrix(Matrix weights, List<Integer> parts, double limit) {
    List<Place> places = places(weights, parts, limit);
    if (places.isEmpty()) {
      return new MatrixWeights(weights, Optional.of(parts));
    }
    return new SparseWeights(
        weights, 0, weights.rows(), List.copyOf(parts), true, takeZerosOut(weights, places));
  }

  /** What will be where; nothing if there are too few zeros. */
  private static List<Place> places(Matrix weights, List<Integer> parts, double limit) {
    if (limit < 0) {
      return List.of();
    }
    double most = limit * weights.size();
    if (weights.size() - ZeroCount.of(weights) > most) {
      return List.of();
    }
    List<Place> all = new ArrayList<>();
    int blocks = (weights.cols() + BLOCK - 1) / BLOCK;
    long row = 0;
    for (int part : parts) {
      for (int at = 0; at < part; at += PANEL) {
        all.add(new Place(row + at, Math.min(PANEL, part - at), new int[blocks + 1]));
      }
      row += part;
    }
    Blas.forEachTile(all.size(), number -> count(weights, all.get(number)));
    // Counted again: of zeros, those are left out that are positive.
    boolean few = all.stream().mapToLong(Place::count).sum() <= most;
    boolean fit =
        all.stream()
            .allMatch(place -> place.bytes() <= (long) Float.BYTES * place.rows() * weights.cols());
    return few && fit ? all : List.of();
  }

  private static void count(Matrix weights, Place place) {
    int[] starts = place.starts();
    float[] row = new float[weights.cols()];
    for (int r = 0; r < place.rows(); r++) {
      weights.row(place.first() + r, row);
      for (int b = 0; b < place.blocks(); b++) {
        int end = Math.min(row.length, (b + 1) * BLOCK);
        int count = 0;
        for (int j = b * BLOCK; j < end; j++) {
          count += Float.floatToRawIntBits(row[j]) != 0 ? 1 : 0;
        }
        starts[b + 1] += count;
      }
    }
    for (int b = 0; b < place.blocks(); b++) {
      starts[b + 1] += starts[b];
    }
  }

  /** Puts what is held of each panel where all of the panel was. */
  private static List<Panel> takeZerosOut(Matrix weights, List<Place> places) {
    List<Panel> panels = places.stream().map(place -> Panel.of(place, weights)).toList();
    long panelBytes = (long) Float.BYTES * PANEL * weights.cols();
    int together = (int) Math.max(1, Math.min(Blas.threads(), ASIDE / panelBytes));
    AtomicInteger next = new AtomicInteger();
    Blas.forEachTile(
        together,
        any -> {
          try (Matrix aside = new Matrix(PANEL, weights.cols())) {
            for (int p = next.getAndIncrement(); p < panels.size(); p = next.getAndIncrement()) {
              takeZerosOut(weights, panels.get(p), aside);
            }
          }
        });
    return panels;
  }

  private static void takeZerosOut(Matrix weights, Panel panel, Matrix aside) {
    aside.firstRows(panel.rows()).set(weights.rows(panel.first(), panel.rows()));
    float[] row = new float[BLOCK];
    float[] values = new float[Scratch.BLOCK_SIZE];
    char[] index = new char[Scratch.BLOCK_SIZE];
    for (int b = 0; b < panel.blocks(); b++) {
      int col = b * BLOCK;
      int count = Math.min(BLOCK, weights.cols() - col);
      int n = panel.rows() + 1;
      for (int r = 0; r < panel.rows(); r++) {
        aside.copyTo(r, col, row, 0, count);
        index[r] = (char) n;
        for (int j = 0; j < count; j++) {
          values[n] = row[j];
          index[n] = (char) (Scratch.INPUTS + j * TOKENS);
          n += Float.floatToRawIntBits(row[j]) != 0 ? 1 : 0; // no branch: it would be mispredicted
        }
      }
      index[panel.rows()] = (char) n;
      panel.setBlock(b, values, index);
    }
  }

  /**
   * What a thread works with. The floats are one array, so large that the garbage collector gives
   * it regions of its own, in which its elements begin 16 bytes behind a cache line: vectors that
   * lie across two lines cost two loads. Elsewhere they may, and all the same is computed.
   */
  private static final class Scratch {
    static final int INPUTS = 12; // on a cache line
    static final int SUMS = INPUTS + BLOCK * TOKENS;
    static final int SIZE = SUMS + TILES * PANEL * TOKENS;

    /** Of the index of a block, and one behind the last, which is written to on the way. */
    static final int BLOCK_SIZE = PANEL + 1 + PANEL * BLOCK + 1;

    private static final ConcurrentLinkedDeque<SoftReference<Scratch>> IDLE =
        new ConcurrentLinkedDeque<>();

    final float[] tile = new float[Math.max(SIZE, halfRegion() / Float.BYTES)];
    final float[] weights = new float[BLOCK_SIZE];
    final char[] index = new char[BLOCK_SIZE];
    final float[] turned = new float[TOKENS * PANEL];
    final float[] row = new float[PANEL];

    static Scratch take() {
      for (SoftReference<Scratch> idle = IDLE.poll(); idle != null; idle = IDLE.poll()) {
        Scratch scratch = idle.get();
        if (scratch != null) {
          return scratch;
        }
      }
      return new Scratch();
    }

    void giveBack() {
      IDLE.push(new SoftReference<>(this));
    }

    /** At least half a region of G1, whose regions are a 2048th of the heap, 1 to 32 MiB. */
    private static int halfRegion() {
      long region = Runtime.getRuntime().maxMemory() / 2048;
      return (int) (Math.min(Math.max(region, 1 << 20), 1 << 25) / 2);
    }
  }

  @Override
  public long rows() {
    return rows;
  }

  @Override
  public int cols() {
    return memory.cols();
  }

  @Override
  public void multiply(Operand x, boolean accumulate, Matrix out) {
    if (x.x().rows() == 1) {
      multiplyRow(x.x(), accumulate, out);
      return;
    }
    x.transpose();
    int groups = (x.tiles() + TILES - 1) / TILES;
    Blas.forEachTile(
        groups * panels.size(),
        number -> {
          Scratch scratch = Scratch.take();
          int tile = number % groups * TILES;
          int tiles = Math.min(TILES, x.tiles() - tile);
          multiply(panels.get(number / groups), x, tile, tiles, accumulate, out, scratch);
          scratch.giveBack();
        });
  }

  /** A panel with some tiles of tokens. */
  private void multiply(
      Panel panel,
      Operand x,
      int tile,
      int tiles,
      boolean accumulate,
      Matrix out,
      Scratch scratch) {
    float[] floats = scratch.tile;
    int size = panel.rows() * TOKENS;
    Arrays.fill(floats, Scratch.SUMS, Scratch.SUMS + tiles * size, 0f);
    for (int b = 0; b < panel.blocks(); b++) {
      panel.block(b, scratch.weights, scratch.index);
      int col = b * BLOCK;
      int count = Math.min(BLOCK, cols() - col);
      for (int t = 0; t < tiles; t++) {
        x.transposed(tile + t, col).get(floats, Scratch.INPUTS, count * TOKENS);
        RowCode.sparse()
            .addSparse(
                floats, Scratch.SUMS + t * size, scratch.weights, scratch.index, panel.rows());
      }
    }
    for (int t = 0; t < tiles; t++) {
      long token = (long) (tile + t) * TOKENS;
      int tokens = (int) Math.min(TOKENS, out.rows() - token);
      put(panel, scratch, Scratch.SUMS + t * size, tokens, accumulate, out, token);
    }
  }

  /** Puts sums (panel, TOKENS) to (tokens, panel). */
  private void put(
      Panel panel,
      Scratch scratch,
      int at,
      int tokens,
      boolean accumulate,
      Matrix out,
      long token) {
    int col = (int) (panel.first() - first);
    int count = panel.rows();
    float[] turned = scratch.turned;
    float[] row = scratch.row;
    Transposition.of(scratch.tile, at, count, TOKENS, turned, PANEL);
    for (int t = 0; t < tokens; t++) {
      if (accumulate) {
        out.copyTo(token + t, col, row, 0, count);
        for (int r = 0; r < count; r++) {
          turned[t * PANEL + r] += row[r];
        }
      }
      out.copyFrom(token + t, col, turned, t * PANEL, count);
    }
  }

  /** The same sums of one token by itself. */
  private void multiplyRow(Matrix x, boolean accumulate, Matrix out) {
    float[] inputs = new float[cols()];
    x.row(0, inputs);
    Blas.forEachTile(
        panels.size(),
        number -> {
          Panel panel = panels.get(number);
          float[] sums = new float[panel.rows()];
          for (int b = 0; b < panel.blocks(); b++) {
            addRows(panel, b, inputs, sums);
          }
          int col = (int) (panel.first() - first);
          if (accumulate) {
            float[] row = new float[panel.rows()];
            out.copyTo(0, col, row, 0, row.length);
            for (int r = 0; r < row.length; r++) {
              sums[r] += row[r];
            }
          }
          out.copyFrom(0, col, sums, 0, sums.length);
        });
  }

  /** Of a block; what lies before its inputs is less than those of one column. */
  private static int column(char index) {
    return index / TOKENS;
  }

  /** Adds the products of a block with its inputs, straight from where it is: once is enough. */
  private static void addRows(Panel panel, int block, float[] x, float[] sums) {
    FloatBuffer weights = panel.values();
    CharBuffer index = panel.index();
    int at = block * BLOCK;
    int begin = panel.indexAt(block);
    int offset = panel.start(block) - (panel.rows() + 1);
    for (int r = 0; r < sums.length; r++) {
      int end = index.get(begin + r + 1);
      float sum = sums[r];
      for (int n = index.get(begin + r); n < end; n++) {
        sum = Math.fma(weights.get(offset + n), x[at + column(index.get(begin + n))], sum);
      }
      sums[r] = sum;
    }
  }

  @Override
  public SparseWeights part(long row, long count) {
    List<Panel> own = new ArrayList<>();
    long covered = 0;
    for (Panel panel : panels) {
      if (panel.first() >= row && panel.first() < row + count) {
        own.add(panel);
        covered += panel.rows();
      }
    }
    if (covered != count) {
      throw new IllegalArgumentException(
          "Cannot take " + count + " rows from row " + row + " on: they are cut otherwise");
    }
    return new SparseWeights(memory, row, count, List.of((int) count), false, own);
  }

  @Override
  public Matrix matrix() {
    Matrix weights = new Matrix(rows, cols());
    Blas.forEachTile(panels.size(), number -> expand(panels.get(number), weights));
    return weights;
  }

  private void expand(Panel panel, Matrix weights) {
    float[] row = new float[BLOCK];
    float[] values = new float[Scratch.BLOCK_SIZE];
    char[] index = new char[Scratch.BLOCK_SIZE];
    for (int b = 0; b < panel.blocks(); b++) {
      panel.block(b, values, index);
      int col = b * BLOCK;
      int count = Math.min(BLOCK, cols() - col);
      for (int r = 0; r < panel.rows(); r++) {
        Arrays.fill(row, 0f);
        for (int n = index[r]; n < index[r + 1]; n++) {
          row[column(index[n])] = values[n];
        }
        weights.copyFrom(panel.first() - first + r, col, row, 0, count);
      }
    }
  }

  @Override
  public LinearWeights replace(Matrix changed) {
    memory.set(changed);
    return orMatrix(memory, parts);
  }

  @Override
  public void close() {
    if (owner) {
      memory.close();
    }
  }
}
