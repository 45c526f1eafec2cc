package ai.owl.benchmark;

import ai.owl.tensor.Matrix;
import java.util.stream.IntStream;

/** What results have to be, by plain loops in float64, and the complaint when they are not. */
final class Expected {
  private Expected() {}

  /**
   * {@code Σ a_i · b_i}, with the sum of the products' magnitudes: rounding is relative to that.
   */
  record Dot(double sum, double magnitude) {
    static Dot of(float[] a, int atA, float[] b, int atB, int length) {
      double sum = 0;
      double magnitude = 0;
      for (int i = 0; i < length; i++) {
        double product = (double) a[atA + i] * b[atB + i];
        sum += product;
        magnitude += Math.abs(product);
      }
      return new Dot(sum, magnitude);
    }

    static Dot of(float[] a, float[] b) {
      return of(a, 0, b, 0, a.length);
    }
  }

  /** Rows to look at: the ends, and some between them. */
  static int[] sample(long count) {
    return IntStream.of(
            0, 1, (int) (count / 3), (int) (count / 2), (int) count - 2, (int) count - 1)
        .filter(i -> i >= 0)
        .distinct()
        .toArray();
  }

  static float[] row(Matrix matrix, long row) {
    float[] values = new float[matrix.cols()];
    matrix.row(row, values);
    return values;
  }

  static float[] column(Matrix matrix, int col) {
    float[] values = new float[Math.toIntExact(matrix.rows())];
    for (int r = 0; r < values.length; r++) {
      matrix.copyTo(r, col, values, r, 1);
    }
    return values;
  }

  static float element(Matrix matrix, long row, int col) {
    float[] one = new float[1];
    matrix.copyTo(row, col, one, 0, 1);
    return one[0];
  }

  /**
   * @param tolerance absolute; a NaN is never within it
   */
  static void close(String what, double expected, double actual, double tolerance) {
    if (!(Math.abs(actual - expected) <= tolerance)) {
      throw new IllegalStateException(
          what + " is " + actual + " and should be " + expected + " within " + tolerance);
    }
  }

  /** Equal up to float32 rounding of a result and its inputs. */
  static void close(String what, double expected, double actual) {
    close(what, expected, actual, 1e-5 * Math.abs(expected) + 1e-30);
  }

  static void equal(String what, double expected, double actual) {
    close(what, expected, actual, 0);
  }

  /** Checks {@code out = x · wᵀ + before} in sampled elements. */
  static void linear(Matrix x, Matrix w, Matrix out) {
    for (int t : sample(x.rows())) {
      for (int o : sample(w.rows())) {
        Dot dot = Dot.of(row(x, t), row(w, o));
        close("x·wᵀ(" + t + ", " + o + ")", dot.sum, element(out, t, o), 2e-6 * dot.magnitude);
      }
    }
  }

  /**
   * What one head attends to at one position, causally.
   *
   * @param query (d)
   * @param keys (positions or more, heads · d), the head's from {@code column} on
   * @param values as {@code keys}
   * @param position of the query
   */
  static double[] attended(float[] query, Matrix keys, Matrix values, int column, int position) {
    int d = query.length;
    double[] scores = new double[position + 1];
    float[] row = new float[d];
    double max = Double.NEGATIVE_INFINITY;
    for (int p = 0; p <= position; p++) {
      keys.copyTo(p, column, row, 0, d);
      scores[p] = Dot.of(query, row).sum / Math.sqrt(d);
      max = Math.max(max, scores[p]);
    }
    double total = 0;
    double[] mixed = new double[d];
    for (int p = 0; p <= position; p++) {
      double weight = Math.exp(scores[p] - max);
      total += weight;
      values.copyTo(p, column, row, 0, d);
      for (int j = 0; j < d; j++) {
        mixed[j] += weight * row[j];
      }
    }
    for (int j = 0; j < d; j++) {
      mixed[j] /= total;
    }
    return mixed;
  }

  /** Turns one head's query or key by its position, with theta 10000. */
  static float[] rotated(float[] head, int position) {
    int half = head.length / 2;
    float[] turned = new float[head.length];
    for (int j = 0; j < half; j++) {
      double angle = position * Math.pow(10000, -2.0 * j / head.length);
      double cos = Math.cos(angle);
      double sin = Math.sin(angle);
      turned[j] = (float) (head[j] * cos - head[half + j] * sin);
      turned[half + j] = (float) (head[half + j] * cos + head[j] * sin);
    }
    return turned;
  }

  /** {@code x / sqrt(mean(x²) + epsilon) · gain}. */
  static double[] normalized(float[] x, float[] gain, double epsilon) {
    double scale = 1 / Math.sqrt(Dot.of(x, x).sum / x.length + epsilon);
    return IntStream.range(0, x.length).mapToDouble(j -> x[j] * scale * gain[j]).toArray();
  }

  /** {@code x / (1 + e^-x)}. */
  static double silu(double x) {
    return x / (1 + Math.exp(-x));
  }
}
