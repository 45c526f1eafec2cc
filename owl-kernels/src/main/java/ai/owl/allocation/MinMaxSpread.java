package ai.owl.allocation;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.IntFunction;

/**
 * How OWL and its relatives turn a number a unit into sparsities: what a unit keeps above the least
 * is scaled to [0, 2h], and then shifted so that the mean is the target,
 *
 * <pre>
 * x_i = (v_i − min v) · 2h / (max v − min v)
 * s_i = 1 − (x_i − mean(x) + 1 − S)
 * </pre>
 *
 * so that sparsities span exactly 2h, from S + mean(x) − 2h to S + mean(x).
 *
 * @param rule who spreads, for messages
 * @param option that sets h
 * @param symbol what h is called
 * @param half h
 */
record MinMaxSpread(String rule, String option, String symbol, double half) {

  /** The x_i; empty if all values are the same. */
  Optional<double[]> kept(double[] values) {
    double min = Double.POSITIVE_INFINITY;
    double max = Double.NEGATIVE_INFINITY;
    for (double value : values) {
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
    if (!(max > min)) {
      return Optional.empty();
    }
    // The published order of operations, so that bits agree.
    double scale = 1 / (max - min) * half * 2;
    double[] kept = new double[values.length];
    for (int i = 0; i < kept.length; i++) {
      kept[i] = (values[i] - min) * scale;
    }
    return Optional.of(kept);
  }

  /** The s_i of blocks, whose plain mean is the target. */
  SparsityAllocation ofBlocks(double[] kept, double target, List<LayerProfile> profiles) {
    double sum = 0;
    for (double x : kept) {
      sum += x;
    }
    List<Double> sparsities = new ArrayList<>();
    for (double sparsity :
        sparsities(kept, sum / kept.length, target, "blocks", i -> "block " + i)) {
      sparsities.add(sparsity);
    }
    return SparsityAllocation.ofBlocksByPlainMean(
        target, sparsities, profiles, offCentre(sparsities, target));
  }

  /**
   * The s_i.
   *
   * @param mean mean(x), by whatever weights
   * @param units what the units are called
   * @param name what one of them is called
   * @throws IllegalArgumentException if one is outside [0, 1)
   */
  double[] sparsities(
      double[] kept, double mean, double target, String units, IntFunction<String> name) {
    double[] sparsities = new double[kept.length];
    for (int i = 0; i < kept.length; i++) {
      sparsities[i] = 1 - (kept[i] - mean + (1 - target));
      if (!(sparsities[i] >= 0 && sparsities[i] < 1)) {
        // s_max = S + h·u and s_min = S − h·(2 − u) with u = mean(x) / h
        double u = mean / half;
        double limit = Math.min((1 - target) / u, target / (2 - u));
        throw new IllegalArgumentException(
            String.format(
                Locale.ROOT,
                "Cannot allocate sparsity %s over %d %s with %s %s: %s would get %.4f, outside"
                    + " [0, 1); use %s",
                target,
                kept.length,
                units,
                option,
                half,
                name.apply(i),
                sparsities[i],
                below(option, limit)));
      }
    }
    return sparsities;
  }

  /** An option's value that is not too large, or the way out if there is none. */
  static String below(String option, double limit) {
    double shown = Math.floor(limit * 1e4 + 1e-6) / 1e4; // rounded up, it could be refused too
    return shown > 0
        ? String.format(Locale.ROOT, "a %s below %.4f", option, shown)
        : "--allocation uniform";
  }

  /** A sentence if the sparsities are not where the papers' text says, within h of the target. */
  List<String> offCentre(List<Double> sparsities, double target) {
    double low = Collections.min(sparsities);
    double high = Collections.max(sparsities);
    return half > 0 && (low < target - half - 1e-12 || high > target + half + 1e-12)
        ? List.of(
            String.format(
                Locale.ROOT,
                "sparsities lie in [%.4f, %.4f], 2 %s wide as published, but not centred on %s",
                low,
                high,
                symbol,
                target))
        : List.of();
  }

  /** The target for all, since nothing tells the units apart. */
  SparsityAllocation uniform(double target, List<LayerProfile> profiles, String units, String why) {
    return SparsityAllocation.ofBlocks(
        target,
        Collections.nCopies(profiles.size(), target),
        profiles,
        List.of(
            rule
                + " cannot tell the "
                + units
                + " apart ("
                + why
                + "): all get the target sparsity"));
  }

  /**
   * A word ahead of a long pass: whatever the values, sparsities lie in [S − 2h, S + 2h]; only if
   * that leaves [0, 1) can they be refused.
   */
  Optional<String> risk(double target, String shows) {
    double safe = Math.min(1 - target, target) / 2;
    return half > 0 && (target + 2 * half >= 1 || target - 2 * half < 0)
        ? Optional.of(
            String.format(
                Locale.ROOT,
                "%s %s may be too much for sparsity %s, which shows when %s; a %s below %.4f is"
                    + " safe",
                option,
                half,
                target,
                shows,
                option,
                safe))
        : Optional.empty();
  }
}
