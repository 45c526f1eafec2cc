package ai.owl.spark.report;

import java.util.ArrayList;
import java.util.List;

/**
 * Numbers along a line.
 *
 * @param low value at its beginning
 * @param high value at its end, greater than {@code low}
 * @param logarithmic whether equal factors rather than equal differences are equally far apart
 * @param ticks values to name, in order
 * @param decimals of the names, if the axis is not logarithmic; negative for the form 1e7
 */
record Axis(double low, double high, boolean logarithmic, List<Double> ticks, int decimals) {
  /** From here on, numbers are named as 1e7. */
  private static final double LARGE = 1e7;

  private static final double[][] MANTISSAS = {{1}, {1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 4, 5, 7}};

  /** From a round number to a round number, with at most about {@code most} ticks. */
  static Axis linear(double low, double high, int most) {
    double width = Math.max(high - low, 1e-9 * Math.max(Math.abs(high), Math.abs(low)));
    if (!(width > 1e-300)) {
      width = 1;
    }
    double step = step(width / most);
    long first = (long) Math.floor(low / step + 1e-9);
    long last = Math.max(first + 1, (long) Math.ceil(Math.max(high, low) / step - 1e-9));
    List<Double> ticks = new ArrayList<>();
    for (long i = first; i <= last; i++) {
      ticks.add(i * step);
    }
    return new Axis(
        first * step,
        last * step,
        false,
        ticks,
        Math.max(Math.abs(low), Math.abs(high)) < LARGE ? decimals(step) : -1);
  }

  /** A little more than the range of two positive numbers. */
  static Axis logarithmic(double low, double high, int most) {
    double margin = Math.max(0.05 * (Math.log(high) - Math.log(low)), 0.01);
    double from = Math.max(low * Math.exp(-margin), Double.MIN_VALUE);
    double to = Math.min(Math.max(high * Math.exp(margin), 2 * Double.MIN_VALUE), Double.MAX_VALUE);
    List<Double> best = List.of();
    for (double[] mantissas : MANTISSAS) {
      List<Double> ticks = powers(mantissas, from, to);
      if (ticks.size() <= most && ticks.size() > best.size()) {
        best = ticks;
      }
    }
    if (best.size() >= 3) {
      boolean plain = best.get(best.size() - 1) < LARGE && best.get(0) >= 1e-3;
      return new Axis(from, to, true, best, plain ? 0 : -1);
    }
    List<Double> decades = powers(MANTISSAS[0], from, to);
    if (decades.size() > most) {
      int stride = (decades.size() + most - 1) / most;
      List<Double> some = new ArrayList<>();
      for (int i = 0; i < decades.size(); i += stride) {
        some.add(decades.get(i));
      }
      return new Axis(from, to, true, some, -1);
    }
    Axis linear = linear(from, to, most);
    List<Double> inside = linear.ticks.stream().filter(tick -> tick >= from && tick <= to).toList();
    return inside.isEmpty()
        ? new Axis(from, to, true, List.of(low), -1)
        : new Axis(from, to, true, inside, linear.decimals);
  }

  /** Where a value lies between two places. */
  double at(double value, double from, double to) {
    double share =
        logarithmic
            ? (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low))
            : (value - low) / (high - low);
    return from + share * (to - from);
  }

  String name(double tick) {
    if (decimals < 0) {
      return Numbers.format("%.1e", tick).replace(".0e", "e").replaceAll("e\\+?(-?)0?", "e$1");
    }
    if (logarithmic) {
      return tick >= 1000 ? Numbers.format("%,.0f", tick) : Numbers.trimmed(tick);
    }
    return Numbers.format("%,." + decimals + "f", tick);
  }

  private static List<Double> powers(double[] mantissas, double from, double to) {
    List<Double> ticks = new ArrayList<>();
    int first = (int) Math.floor(Math.log10(from));
    int last = (int) Math.ceil(Math.log10(to));
    for (int exponent = first; exponent <= last; exponent++) {
      for (double mantissa : mantissas) {
        double tick = Double.parseDouble(mantissa + "e" + exponent);
        if (tick >= from && tick <= to) {
          ticks.add(tick);
        }
      }
    }
    return ticks;
  }

  /** The smallest of 1, 2, 5 times a power of ten that is not below. */
  private static double step(double least) {
    double power = Math.pow(10, Math.floor(Math.log10(least)));
    for (double mantissa : new double[] {1, 2, 5}) {
      if (mantissa * power >= least * (1 - 1e-9)) {
        return mantissa * power;
      }
    }
    return 10 * power;
  }

  private static int decimals(double step) {
    int decimals = (int) Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return decimals > 5 ? -1 : decimals;
  }
}
