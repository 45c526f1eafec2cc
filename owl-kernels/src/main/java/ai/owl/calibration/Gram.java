package ai.owl.calibration;

import ai.owl.kernel.Blas;
import ai.owl.tensor.Matrix;

/**
 * The products of all pairs of input features, {@code G = Σ X·ᵀX} over the calibration sequences,
 * of which SparseGPT's Hessian is made: {@code H = 2/n · G} for n sequences. In float32, outside of
 * the heap; only the upper triangle is kept up. Owned: whoever makes it closes it.
 */
public final class Gram implements ActivationStatistics, AutoCloseable {
  private static final long serialVersionUID = 1;

  private final transient Matrix products; // (in_features, in_features)
  private int sequences;

  /** A Gram matrix of nothing yet. */
  public Gram(int features) {
    this(new Matrix(features, features), 0);
    float[] zeros = new float[features];
    for (int row = 0; row < features; row++) {
      products.setRow(row, zeros);
    }
  }

  /**
   * A Gram matrix that was kept.
   *
   * @param products (in_features, in_features), of which the upper triangle holds; owned by this
   *     from here on
   * @param sequences number of sequences it is the sum over
   */
  public Gram(Matrix products, int sequences) {
    this.products = products;
    this.sequences = sequences;
  }

  @Override
  public void add(Matrix x) {
    Blas.addGram(x, products);
    sequences++;
  }

  /**
   * Adds the rows from {@code firstRow} on of another Gram matrix's upper triangle.
   *
   * @param values the rows, each from its diagonal on, one behind the other
   * @param rows how many
   */
  public void addRows(int firstRow, int rows, float[] values) {
    float[] row = new float[features()];
    int at = 0;
    for (int r = firstRow; r < firstRow + rows; r++) {
      int length = features() - r;
      products.copyTo(r, r, row, 0, length);
      for (int j = 0; j < length; j++) {
        row[j] += values[at + j];
      }
      products.copyFrom(r, r, row, 0, length);
      at += length;
    }
  }

  /** Rows of the upper triangle as {@link #addRows} takes them. */
  public float[] rows(int firstRow, int rows) {
    int last = firstRow + rows - 1;
    float[] values =
        new float[Math.toIntExact(((long) features() - firstRow + features() - last) * rows / 2)];
    int at = 0;
    for (int r = firstRow; r <= last; r++) {
      int length = features() - r;
      products.copyTo(r, r, values, at, length);
      at += length;
    }
    return values;
  }

  /** Says that rows of so many more sequences were added. */
  public void addSequences(int count) {
    sequences += count;
  }

  /** Adds what other sequences gave. */
  public void merge(Gram other) {
    if (other.features() != features()) {
      throw new IllegalArgumentException(
          "Cannot merge a Gram matrix of "
              + other.features()
              + " features into one of "
              + features());
    }
    float[] row = new float[features()];
    float[] theirs = new float[features()];
    for (int r = 0; r < features(); r++) {
      int length = features() - r;
      products.copyTo(r, r, row, 0, length);
      other.products.copyTo(r, r, theirs, 0, length);
      for (int j = 0; j < length; j++) {
        row[j] += theirs[j];
      }
      products.copyFrom(r, r, row, 0, length);
    }
    sequences += other.sequences;
  }

  /** Number of input features. */
  public int features() {
    return products.cols();
  }

  /** Number of sequences it is the sum over. */
  public int sequences() {
    return sequences;
  }

  /** G, (in_features, in_features), of which the upper triangle holds; not a copy. */
  public Matrix products() {
    return products;
  }

  /** {@code G_jj}: the squared norms of the features. */
  public double[] diagonal() {
    double[] diagonal = new double[features()];
    float[] one = new float[1];
    for (int j = 0; j < diagonal.length; j++) {
      products.copyTo(j, j, one, 0, 1);
      diagonal[j] = one[0];
    }
    return diagonal;
  }

  @Override
  public void close() {
    products.close();
  }
}
