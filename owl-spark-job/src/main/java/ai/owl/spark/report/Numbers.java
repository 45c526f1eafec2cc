package ai.owl.spark.report;

import java.util.Locale;

/** Numbers as people read them. What is not finite is a dash. */
final class Numbers {
  static final String NONE = "–";

  private static final char SPACE = '\u00a0';

  private Numbers() {}

  /** A perplexity with about four digits: 5.680, 85.77, 48,419, 2.91e+12. */
  static String perplexity(double value) {
    if (!Double.isFinite(value)) {
      return NONE;
    }
    double size = Math.abs(value);
    if (size >= 1e7) {
      return format("%.2e", value);
    }
    return format(size < 9.9995 ? "%.3f" : size < 99.995 ? "%.2f" : "%,.0f", value);
  }

  /** A perplexity for a table: 5.6800. */
  static String precise(double value) {
    return Double.isFinite(value) ? format(value < 1e7 ? "%,.4f" : "%.4e", value) : NONE;
  }

  /** A fraction as a percentage with as many digits as it needs, three at most: 70 %, 61.125 %. */
  static String percent(double fraction) {
    return Double.isFinite(fraction) ? trimmed(100 * fraction) + SPACE + '%' : NONE;
  }

  /** A fraction as a percentage without its sign, for columns. */
  static String points(double fraction) {
    return Double.isFinite(fraction) ? format("%.3f", 100 * fraction) : NONE;
  }

  /** An outlier ratio, which is a percentage already. */
  static String ratio(double percent) {
    return Double.isFinite(percent) ? format("%.4f", percent) : NONE;
  }

  /** A number with at most three decimals, and no zeros at its end: 5, 0.08. */
  static String trimmed(double value) {
    String digits = format("%.3f", value);
    int end = digits.length();
    while (digits.charAt(end - 1) == '0') {
      end--;
    }
    return digits.substring(0, digits.charAt(end - 1) == '.' ? end - 1 : end);
  }

  /** How many times as much: 4.32 ×. */
  static String factor(double value) {
    if (!Double.isFinite(value)) {
      return NONE;
    }
    return format(value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%,.0f", value) + SPACE + '×';
  }

  /** 0.4 s, 12.5 s, 3 min 05 s, 2 h 07 min. */
  static String duration(double seconds) {
    if (!Double.isFinite(seconds)) {
      return NONE;
    }
    if (seconds < 59.95) {
      return format(seconds < 0.095 ? "%.2f" : "%.1f", seconds) + SPACE + 's';
    }
    long whole = Math.round(seconds);
    if (whole < 3600) {
      return format("%d%cmin%c%02d%cs", whole / 60, SPACE, SPACE, whole % 60, SPACE);
    }
    long minutes = Math.round(seconds / 60);
    return format("%,d%ch%c%02d%cmin", minutes / 60, SPACE, SPACE, minutes % 60, SPACE);
  }

  /** 6,476,005,376. */
  static String grouped(long number) {
    return format("%,d", number);
  }

  static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
