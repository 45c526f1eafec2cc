package ai.owl.allocation;

import ai.owl.kernel.Spectrum;
import java.util.Arrays;
import java.util.Locale;

/**
 * Where the tail begins that {@code PL_Alpha_Hill} is fitted to (AlphaPruning, arXiv 2410.10912):
 * Hill's estimate of the exponent of a power law, over the eigenvalues from λ_i on,
 *
 * <pre>
 * α = 1 + n / (Σ_{j ≥ i} ln λ_j − n · ln λ_i)          n = N − i
 * </pre>
 */
public enum AlphaFit {
  /** At the median, {@code i = ⌊N/2⌋}: the paper's text. */
  MID,
  /**
   * Near the fullest of a hundred bins of log₁₀ λ, whose left edge is e: of all λ_i with {@code
   * log₁₀(0.95 · 10^e) ≤ λ_i ≤ 1.5 · 10^e}, the one whose power law is closest to the eigenvalues
   * by the Kolmogorov–Smirnov distance. What the published script does by default. (Its lower bound
   * is a logarithm that is compared with an eigenvalue, certainly a slip, which makes the window
   * larger; kept, since it decides.)
   */
  PEAK;

  private static final int BINS = 100;

  /** The name that the command line uses. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The exponent α of a spectrum's tail: the smaller, the heavier.
   *
   * <p>Eigenvalues that are zero but for rounding, below {@code N · 2⁻⁵² · λ_N}, are left out; they
   * have no logarithm to speak of.
   *
   * @return NaN if there is no tail to fit, such as of equal eigenvalues
   */
  public double alpha(Spectrum spectrum) {
    double[] all = spectrum.eigenvalues();
    double rounding = all.length == 0 ? 0 : all.length * 0x1p-52 * all[all.length - 1];
    int first = 0;
    while (first < all.length && all[first] <= rounding) {
      first++;
    }
    double[] eigenvalues = Arrays.copyOfRange(all, first, all.length);
    int size = eigenvalues.length;
    if (size < 2) {
      return Double.NaN;
    }
    double[] logs = new double[size];
    double[] sums = new double[size + 1]; // of the logarithms from i on
    for (int i = size - 1; i >= 0; i--) {
      logs[i] = Math.log(eigenvalues[i]);
      sums[i] = sums[i + 1] + logs[i];
    }
    double alpha = this == MID ? hill(logs, sums, size / 2) : atPeak(eigenvalues, logs, sums);
    return alpha > 1 && alpha < Double.POSITIVE_INFINITY ? alpha : Double.NaN;
  }

  private static double hill(double[] logs, double[] sums, int i) {
    double n = logs.length - i;
    return 1 + n / (sums[i] - n * logs[i]);
  }

  private static double atPeak(double[] eigenvalues, double[] logs, double[] sums) {
    double edge = Math.pow(10, fullestBin(eigenvalues));
    double from = Math.log10(0.95 * edge);
    double to = 1.5 * edge;
    double best = Double.NaN;
    double least = 1; // the distance of what is no power law at all
    for (int i = 0; i < logs.length - 1 && eigenvalues[i] <= to; i++) {
      if (eigenvalues[i] < from) {
        continue;
      }
      double alpha = hill(logs, sums, i);
      if (alpha > 1) {
        double distance = distance(logs, i, alpha, least);
        if (distance < least) {
          least = distance;
          best = alpha;
        }
      }
    }
    return best;
  }

  /** The left edge of the first of the fullest bins, a logarithm. */
  private static double fullestBin(double[] eigenvalues) {
    double min = Math.log10(eigenvalues[0]);
    double max = Math.log10(eigenvalues[eigenvalues.length - 1]);
    int[] counts = new int[BINS];
    for (double eigenvalue : eigenvalues) {
      int bin = max > min ? (int) ((Math.log10(eigenvalue) - min) * BINS / (max - min)) : 0;
      counts[Math.min(bin, BINS - 1)]++;
    }
    int fullest = 0;
    for (int bin = 1; bin < BINS; bin++) {
      fullest = counts[bin] > counts[fullest] ? bin : fullest;
    }
    return min + fullest * ((max - min) / BINS);
  }

  /**
   * {@code max_j |1 − (λ_j/λ_i)^(1−α) − (j−i)/n|}; not to its end if it is no less than {@code
   * enough}, since only the least counts.
   */
  private static double distance(double[] logs, int i, double alpha, double enough) {
    double n = logs.length - i;
    double largest = 0;
    for (int j = i; j < logs.length && largest < enough; j++) {
      double tail = Math.exp((1 - alpha) * (logs[j] - logs[i]));
      largest = Math.max(largest, Math.abs(1 - tail - (j - i) / n));
    }
    return largest;
  }
}
