package ai.owl.kernel;

import ai.owl.tensor.DType;
import ai.owl.tensor.VectorCode;
import java.lang.invoke.MethodHandle;

/**
 * What this process computes rows with, such as of activations or weights: plain loops, and vector
 * code from when it is compiled ({@link VectorCode}).
 */
public final class RowCode {
  /** Elements of a row, and a few that fill no vector. */
  private static final int LENGTH = 515;

  private static final int GROUP = 4;
  private static final int WIDTH = 32; // of a block of columns
  private static final int ROWS = LENGTH / WIDTH;
  private static final int CALLS = 10;

  private static final MethodHandle CHOSEN =
      VectorCode.inPlaceOf(
          RowOperations.class, new PlainRows(), VectorRows::new, RowCode::exercise);

  private RowCode() {}

  /**
   * Begins to compile the vector code, of 16-bit floats too, if the process has it; the first row
   * would do so, but a process that has other things to do first can have it ready by then.
   */
  public static void prepare() {
    chosen();
    DType.BF16.widen(new byte[Short.BYTES], 0, new float[1], 1);
  }

  static RowOperations chosen() {
    try {
      return (RowOperations) CHOSEN.invokeExact();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e); // a constant throws nothing
    }
  }

  /** Calls every operation on rows such as they meet. */
  static void exercise(RowOperations code) {
    float[] weights = new float[LENGTH];
    float[] norms = new float[LENGTH];
    for (int j = 0; j < LENGTH; j++) {
      weights[j] = (j * 37 % 101 - 50) / 100f;
      norms[j] = 1 + j * 61 % 89 / 89f;
    }
    for (int call = 0; call < CALLS; call++) {
      sum(code, weights, norms);
      change(code, weights.clone(), norms);
      select(code, weights.clone(), norms);
      compensate(code, weights.clone(), norms);
      multiply(code, weights);
    }
  }

  /** A third of the weights of a block, as is left of pruned ones. */
  private static void multiply(RowOperations code, float[] weights) {
    int tokens = RowOperations.TOKENS;
    float[] tile = new float[(WIDTH + ROWS) * tokens];
    float[] left = new float[ROWS + 1 + ROWS * WIDTH / 3 + ROWS];
    char[] index = new char[left.length];
    int n = ROWS + 1;
    for (int r = 0; r < ROWS; r++) {
      index[r] = (char) n;
      for (int j = r % 3; j < WIDTH; j += 3) {
        left[n] = weights[j];
        index[n++] = (char) (j * tokens);
      }
    }
    index[ROWS] = (char) n;
    code.addSparse(tile, WIDTH * tokens, left, index, ROWS);
  }

  private static void sum(RowOperations code, float[] x, float[] norms) {
    double[] sums = new double[RowOperations.SUMS];
    code.addValues(x, 0, LENGTH, sums);
    code.addSquares(x, 0, LENGTH, sums);
    code.addSquaredDistances(x, 0, LENGTH, 0.1, sums);
    code.addScores(x, norms, 0, LENGTH, sums);
    code.addColumnSquares(x, ROWS, WIDTH, new double[WIDTH], 0, WIDTH);
    code.zeros(x, 0, LENGTH);
  }

  private static void change(RowOperations code, float[] x, float[] gain) {
    float[] table = gain.clone();
    code.scale(x, 0, 0.9f, gain, 0, LENGTH);
    code.standardize(x, 0.1, 0.9, gain, gain, 0, LENGTH);
    code.rotate(x, 0, LENGTH / 2, table, gain, 0, 0, LENGTH / 2);
    code.multiply(x, gain, 0, LENGTH);
    code.silu(x, 0, LENGTH);
    code.geluTanh(x, 0, LENGTH);
    code.exponentials(x, 0, LENGTH, code.max(x, 0, LENGTH));
    code.multiply(x, 0, LENGTH, 0.5f);
  }

  private static void select(RowOperations code, float[] weights, float[] norms) {
    float[] scores = new float[LENGTH];
    int[] keys = new int[LENGTH];
    code.magnitudes(weights, scores, 0, LENGTH);
    code.relative(weights, norms, 2f, norms, scores, 0, LENGTH);
    code.weighted(weights, norms, scores, 0, LENGTH);
    code.keys(scores, keys, 0, LENGTH);
    int middle = Float.floatToRawIntBits(0.25f);
    code.countBelow(keys, 0, LENGTH, middle);
    code.collect(keys, 0, LENGTH, middle, Integer.MAX_VALUE, new int[LENGTH], 0);
    code.countAbove(scores, new int[] {middle, 2 * (middle / 2) + 1}, new long[2], 0, LENGTH);
    code.zeroInGroups(weights, keys, GROUP / 2, GROUP, 0, LENGTH / GROUP * GROUP);
    code.zeroBelow(weights, keys, middle, 0, LENGTH);
  }

  private static void compensate(RowOperations code, float[] weights, float[] diagonal) {
    float[] upper = new float[WIDTH * WIDTH];
    for (int i = 0; i < WIDTH; i++) {
      for (int j = i; j < WIDTH; j++) {
        upper[i * WIDTH + j] = i == j ? 1 : 0.01f;
      }
    }
    int limit = Float.floatToRawIntBits(0.05f);
    float[] errors = new float[ROWS * WIDTH];
    code.errorKeys(weights, diagonal, new int[LENGTH], 0, 0, LENGTH);
    float[] rows = weights.clone();
    code.compensate(new ErrorCompensation.Columns(WIDTH, upper, limit, 0, 0), rows, ROWS, errors);
    code.compensate(
        new ErrorCompensation.Columns(WIDTH, upper, 0, GROUP / 2, GROUP), weights, ROWS, errors);
  }
}
