package ai.owl.allocation;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What the allocations by outlier ratio share: their two hyper-parameters. */
final class OutlierRule {
  /** When it shows whether a {@code --lambda} is too large. */
  static final String COUNTED = "the outliers are counted";

  private OutlierRule() {}

  /** Refuses hyper-parameters that nothing can be allocated with. */
  static void require(double threshold, double lambda) {
    if (!(threshold > 0 && threshold < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          "Cannot use --outlier-threshold " + threshold + ": it must be a positive number");
    }
    if (!(lambda >= 0 && lambda < 0.5)) {
      throw new IllegalArgumentException(
          "Cannot use --lambda "
              + lambda
              + ": it must be in [0, 0.5), since sparsities 2 lambda apart must all lie in [0, 1)");
    }
  }

  static String label(String name, double threshold, double lambda) {
    return name + " M=" + plain(threshold) + " λ=" + plain(lambda);
  }

  static Map<String, Object> settings(double threshold, double lambda) {
    Map<String, Object> settings = new LinkedHashMap<>();
    settings.put("outlierThreshold", threshold);
    settings.put("lambda", lambda);
    return settings;
  }

  static MinMaxSpread spread(String rule, double lambda) {
    return new MinMaxSpread(rule, "--lambda", "lambda", lambda);
  }

  static double[] ratios(List<LayerProfile> profiles, double threshold) {
    return profiles.stream().mapToDouble(profile -> profile.outlierRatio(threshold)).toArray();
  }

  /** Why units with these ratios are all the same. */
  static String whyAlike(double[] ratios, double threshold, String unit) {
    return ratios.length == 1
        ? "there is only one " + unit
        : "all "
            + unit
            + "s have the same outlier ratio, "
            + ratios[0]
            + " %, at threshold "
            + plain(threshold);
  }

  static String plain(double value) {
    return value == Math.rint(value) ? Long.toString((long) value) : Double.toString(value);
  }
}
