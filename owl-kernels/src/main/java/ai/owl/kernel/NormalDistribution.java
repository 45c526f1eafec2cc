package ai.owl.kernel;

/**
 * The standard normal's distribution function {@code Φ(x) = (1 + erf(x/√2)) / 2}, tabulated, with
 * Taylor's polynomial of third order between the points of the table: Φ' = φ, φ' = −xφ, φ'' = (x² −
 * 1)φ. At a distance of at most 2^-9 what is left out is below 3e-10 · φ(x), which no float32
 * shows.
 */
final class NormalDistribution {
  /** Beyond, Φ is 0 or 1 to within 1e-15. */
  private static final int LIMIT = 8;

  private static final int STEPS = 256; // per unit
  private static final double[] BELOW = new double[2 * LIMIT * STEPS + 1];
  private static final double[] DENSITY = new double[BELOW.length];

  static {
    for (int i = 0; i < BELOW.length; i++) {
      double x = (double) i / STEPS - LIMIT;
      DENSITY[i] = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
      BELOW[i] = x < 0 ? tail(-x, DENSITY[i]) : 1 - tail(x, DENSITY[i]);
    }
  }

  private NormalDistribution() {}

  /** {@code Φ(x)}; NaN for NaN. */
  static double below(double x) {
    if (!(Math.abs(x) < LIMIT)) {
      return Double.isNaN(x) ? x : x < 0 ? 0 : 1;
    }
    int i = (int) Math.rint((x + LIMIT) * STEPS);
    double at = (double) i / STEPS - LIMIT;
    double d = x - at;
    return BELOW[i] + DENSITY[i] * d * (1 - d / 2 * at + d * d / 6 * (at * at - 1));
  }

  /** {@code 1 − Φ(x)} for x of at least 0, to all digits. */
  private static double tail(double x, double density) {
    if (x < 3) {
      // Φ(x) = 1/2 + φ(x) · (x + x³/3 + x⁵/(3·5) + …): nothing but positive terms.
      double term = x;
      double sum = x;
      for (int n = 3; term > 1e-18 * sum; n += 2) {
        term *= x * x / n;
        sum += term;
      }
      return 0.5 - density * sum;
    }
    // Laplace's continued fraction, φ(x) / (x + 1/(x + 2/(x + 3/(x + …)))).
    double fraction = x;
    for (int n = 120; n > 0; n--) {
      fraction = x + n / fraction;
    }
    return density / fraction;
  }
}
