package ai.owl.kernel;

import ai.owl.tensor.DType;
import ai.owl.tensor.VectorCode;
import ai.owl.tensor.VectorUnit;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * What this process computes rows with, such as of activations or weights: plain loops, and vector
 * code from when it is compiled ({@link VectorCode}). In groups of what is used together, each of
 * which begins to be compiled when it is first asked for: to compile what a run never needs would
 * take the processor from what it does.
 */
public final class RowCode {
  /** Elements of a row, and a few that fill no vector. */
  private static final int LENGTH = 515;

  private static final long LONGEST_WAIT_NANOS = 10_000_000_000L;
  private static final long POLL_NANOS = 2_000_000;

  private static final int GROUP = 4;
  private static final int WIDTH = 32; // of a block of columns
  private static final int ROWS = LENGTH / WIDTH;
  private static final float[] WEIGHTS = new float[LENGTH];
  private static final float[] NORMS = new float[LENGTH];

  static {
    for (int j = 0; j < LENGTH; j++) {
      WEIGHTS[j] = (j * 37 % 101 - 50) / 100f;
      NORMS[j] = 1 + j * 61 % 89 / 89f;
    }
  }

  private RowCode() {}

  /** Code that is used together, by most runs. */
  public enum Group {
    /** Of forward passes. */
    FORWARD(RowCode::forward),
    /** Of what is counted of weights, and of those that go by a score. */
    SELECTION(RowCode::selection),
    /** Of SparseGPT. */
    COMPENSATION(RowCode::compensation),
    /** Of products that skip zeros. */
    SPARSE(RowCode::sparse);

    private final Supplier<RowOperations> code;

    Group(Supplier<RowOperations> code) {
      this.code = code;
    }
  }

  /**
   * Begins to compile what a forward pass needs, if the process has vector code; the first row
   * would do so, but a process that has to read a block first can have it ready by then.
   */
  public static void prepare() {
    forward();
    DType.BF16.widen(new byte[Short.BYTES], 0, new float[1], 1);
  }

  /**
   * Begins to compile what will be needed, one group after the other, so that the first is ready
   * first: for a process that waits for something before it computes. With one core it would wait
   * for the compiler; there, each group begins when it is asked for.
   *
   * @param groups in the order in which they are needed; that of sparse products is left out where
   *     none are made
   */
  public static void prepare(List<Group> groups, Compute compute) {
    if (!VectorUnit.isPresent() || Runtime.getRuntime().availableProcessors() == 1) {
      return;
    }
    DType.BF16.widen(new byte[Short.BYTES], 0, new float[1], 1);
    List<BooleanSupplier> ready = new ArrayList<>();
    for (Group group : groups) {
      BooleanSupplier isThere = () -> group.code.get() instanceof VectorRows;
      // Asked late: it loads oneDNN.
      ready.add(
          group == Group.SPARSE ? () -> !compute.skipsZeros() || isThere.getAsBoolean() : isThere);
    }
    Thread waiting = new Thread(() -> await(ready, LONGEST_WAIT_NANOS), "owl-prepare-vector-code");
    waiting.setDaemon(true);
    waiting.start();
  }

  /**
   * Asks for one after the other until it is ready.
   *
   * @param nanos after which the next is asked for all the same
   */
  static void await(List<BooleanSupplier> ready, long nanos) {
    for (BooleanSupplier one : ready) {
      long begin = System.nanoTime();
      while (!one.getAsBoolean() && System.nanoTime() - begin < nanos) {
        LockSupport.parkNanos(POLL_NANOS);
      }
    }
  }

  /** Of norms, rotations, attention, activations and their statistics. */
  static RowOperations forward() {
    return VectorCode.chosen(Forward.CHOSEN);
  }

  /** Of norms with a mean. */
  static RowOperations standardized() {
    return VectorCode.chosen(Standardized.CHOSEN);
  }

  /** Of the activation that few networks have. */
  static RowOperations gelu() {
    return VectorCode.chosen(Gelu.CHOSEN);
  }

  /** Of scores, what is counted of them, and what goes. */
  static RowOperations selection() {
    return VectorCode.chosen(Selection.CHOSEN);
  }

  /** Of RIA's scores. */
  static RowOperations relativeImportance() {
    return VectorCode.chosen(Relative.CHOSEN);
  }

  /** Of what goes of N:M groups. */
  static RowOperations groups() {
    return VectorCode.chosen(Groups.CHOSEN);
  }

  /** Of SparseGPT's sweep. */
  static RowOperations compensation() {
    return VectorCode.chosen(Compensation.CHOSEN);
  }

  /** Of products with sparse weights. */
  static RowOperations sparse() {
    return VectorCode.chosen(Sparse.CHOSEN);
  }

  // A class each: the JIT takes what is in a static final field for a constant.

  private static final class Forward {
    static final MethodHandle CHOSEN = choose(RowCode::forward);
  }

  private static final class Standardized {
    static final MethodHandle CHOSEN = choose(RowCode::standardized);
  }

  private static final class Gelu {
    static final MethodHandle CHOSEN = choose(code -> code.geluTanh(WEIGHTS.clone(), 0, LENGTH));
  }

  private static final class Selection {
    static final MethodHandle CHOSEN = choose(RowCode::select);
  }

  private static final class Relative {
    static final MethodHandle CHOSEN = choose(RowCode::relate);
  }

  private static final class Groups {
    static final MethodHandle CHOSEN = choose(RowCode::zeroInGroups);
  }

  private static final class Compensation {
    static final MethodHandle CHOSEN = choose(RowCode::compensate);
  }

  private static final class Sparse {
    static final MethodHandle CHOSEN = choose(RowCode::multiply);
  }

  private static MethodHandle choose(Consumer<RowOperations> exercise) {
    return VectorCode.inPlaceOf(new PlainRows(), VectorRows::new, exercise);
  }

  private static void forward(RowOperations code) {
    float[] x = WEIGHTS.clone();
    double[] sums = new double[RowOperations.SUMS];
    code.addSquares(x, 0, LENGTH, sums);
    code.addColumnSquares(x, ROWS, WIDTH, new double[WIDTH], 0, WIDTH);
    code.scale(x, 0, 0.9f, NORMS, 0, LENGTH);
    code.rotate(x, 0, LENGTH / 2, WEIGHTS, NORMS, 0, 0, LENGTH / 2);
    code.silu(x, 0, LENGTH);
    code.multiply(x, NORMS, 0, LENGTH);
    code.exponentials(x, 0, LENGTH, code.max(x, 0, LENGTH));
    code.addValues(x, 0, LENGTH, sums);
    code.multiply(x, 0, LENGTH, 0.5f);
    code.areBfloat16(x, 0, LENGTH);
  }

  private static void standardized(RowOperations code) {
    float[] x = WEIGHTS.clone();
    double[] sums = new double[RowOperations.SUMS];
    code.addValues(x, 0, LENGTH, sums);
    code.addSquaredDistances(x, 0, LENGTH, 0.1, sums);
    code.standardize(x, 0.1, 0.9, NORMS, WEIGHTS, 0, LENGTH);
  }

  private static void select(RowOperations code) {
    float[] weights = WEIGHTS.clone();
    float[] scores = new float[LENGTH];
    int[] keys = new int[LENGTH];
    code.addScores(weights, NORMS, 0, LENGTH, new double[RowOperations.SUMS]);
    code.magnitudes(weights, scores, 0, LENGTH);
    code.weighted(weights, NORMS, scores, 0, LENGTH);
    code.keys(scores, keys, 0, LENGTH);
    int middle = Float.floatToRawIntBits(0.25f);
    code.countBelow(keys, 0, LENGTH, middle);
    code.collect(keys, 0, LENGTH, middle, Integer.MAX_VALUE, new int[LENGTH], 0);
    code.countAbove(scores, new int[] {middle, middle + 1}, new long[2], 0, LENGTH);
    code.zeroBelow(weights, keys, middle, 0, LENGTH);
    code.zeros(weights, 0, LENGTH);
  }

  private static void relate(RowOperations code) {
    float[] scores = new float[LENGTH];
    code.magnitudes(WEIGHTS, scores, 0, LENGTH);
    code.addValues(scores, 0, LENGTH, new double[RowOperations.SUMS]);
    code.relative(scores, NORMS, 2f, NORMS, scores, 0, LENGTH);
  }

  private static void zeroInGroups(RowOperations code) {
    int[] keys = new int[LENGTH];
    code.keys(NORMS, keys, 0, LENGTH);
    code.zeroInGroups(WEIGHTS.clone(), keys, GROUP / 2, GROUP, 0, LENGTH / GROUP * GROUP);
  }

  private static void compensate(RowOperations code) {
    float[] upper = new float[WIDTH * WIDTH];
    for (int i = 0; i < WIDTH; i++) {
      for (int j = i; j < WIDTH; j++) {
        upper[i * WIDTH + j] = i == j ? 1 : 0.01f;
      }
    }
    int limit = Float.floatToRawIntBits(0.05f);
    float[] errors = new float[ROWS * WIDTH];
    code.errorKeys(WEIGHTS, NORMS, new int[LENGTH], 0, 0, LENGTH);
    ErrorCompensation.Columns all = new ErrorCompensation.Columns(WIDTH, upper, limit, 0, 0);
    code.compensate(all, WEIGHTS.clone(), ROWS, errors);
    ErrorCompensation.Columns groups =
        new ErrorCompensation.Columns(WIDTH, upper, 0, GROUP / 2, GROUP);
    code.compensate(groups, WEIGHTS.clone(), ROWS, errors);
  }

  /** A third of the weights of a block, as is left of pruned ones. */
  private static void multiply(RowOperations code) {
    int tokens = RowOperations.TOKENS;
    float[] tile = new float[(WIDTH + ROWS) * tokens];
    float[] left = new float[ROWS + 1 + ROWS * WIDTH / 3 + ROWS];
    char[] index = new char[left.length];
    int n = ROWS + 1;
    for (int r = 0; r < ROWS; r++) {
      index[r] = (char) n;
      for (int j = r % 3; j < WIDTH; j += 3) {
        left[n] = WEIGHTS[j];
        index[n++] = (char) (j * tokens);
      }
    }
    index[ROWS] = (char) n;
    code.addSparse(tile, WIDTH * tokens, left, index, ROWS);
  }
}
