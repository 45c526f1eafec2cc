package ai.owl.allocation;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * OWL's allocation (arXiv 2310.05175), as the published code computes it: with the outlier ratios
 * D_i at threshold M,
 *
 * <pre>
 * x_i = (D_i − min D) · 2λ / (max D − min D)          in [0, 2λ]
 * s_i = 1 − (x_i − mean(x) + 1 − S)
 * </pre>
 *
 * Blocks with more outliers keep more. The plain mean of the s_i is S and their range is 2λ wide.
 * It is not, as the paper's text has it, [S − λ, S + λ]: where in the range S lies depends on
 * mean(x).
 *
 * @param threshold M: a weight is an outlier if its score exceeds M times the block's mean
 * @param lambda λ, half the width of the range of sparsities
 */
public record Owl(double threshold, double lambda) implements SparsityAllocator {
  public Owl {
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

  @Override
  public String name() {
    return "owl";
  }

  @Override
  public String label() {
    return "owl M=" + plain(threshold) + " λ=" + plain(lambda);
  }

  private static String plain(double value) {
    return value == Math.rint(value) ? Long.toString((long) value) : Double.toString(value);
  }

  @Override
  public Map<String, Object> settings() {
    Map<String, Object> settings = new LinkedHashMap<>();
    settings.put("outlierThreshold", threshold);
    settings.put("lambda", lambda);
    return settings;
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of(Evidence.OUTLIERS);
  }

  @Override
  public Optional<Double> outlierThreshold() {
    return Optional.of(threshold);
  }

  /**
   * A word ahead of a long pass: whatever the outliers, sparsities lie in [S − 2λ, S + 2λ]; only if
   * that leaves [0, 1) can {@link #allocate} refuse them.
   */
  @Override
  public Optional<String> risk(double target) {
    double safe = Math.min(1 - target, target) / 2;
    return lambda > 0 && (target + 2 * lambda >= 1 || target - 2 * lambda < 0)
        ? Optional.of(
            String.format(
                Locale.ROOT,
                "--lambda %s may be too much for sparsity %s, which shows when the outliers are"
                    + " counted; a --lambda below %.4f is safe",
                lambda,
                target,
                safe))
        : Optional.empty();
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    double[] ratios =
        profiles.stream().mapToDouble(profile -> profile.outlierRatio(threshold)).toArray();
    double min = Double.POSITIVE_INFINITY;
    double max = Double.NEGATIVE_INFINITY;
    for (double ratio : ratios) {
      min = Math.min(min, ratio);
      max = Math.max(max, ratio);
    }
    if (max == min) {
      String why =
          ratios.length == 1
              ? "there is only one block"
              : "all blocks have the same outlier ratio, "
                  + min
                  + " %, at threshold "
                  + plain(threshold);
      return SparsityAllocation.ofBlocks(
          target,
          Collections.nCopies(ratios.length, target),
          profiles,
          List.of("OWL cannot tell the blocks apart (" + why + "): all get the target sparsity"));
    }
    // The published order of operations, so that bits agree.
    double scale = 1 / (max - min) * lambda * 2;
    double sum = 0;
    double[] keep = new double[ratios.length];
    for (int i = 0; i < ratios.length; i++) {
      keep[i] = (ratios[i] - min) * scale;
      sum += keep[i];
    }
    double mean = sum / ratios.length;
    List<Double> sparsities = new ArrayList<>();
    for (double x : keep) {
      sparsities.add(1 - (x - mean + (1 - target)));
    }
    requireInRange(sparsities, target, mean);
    List<String> warnings = new ArrayList<>();
    double low = Collections.min(sparsities);
    double high = Collections.max(sparsities);
    if (lambda > 0 && (low < target - lambda - 1e-12 || high > target + lambda + 1e-12)) {
      warnings.add(
          String.format(
              Locale.ROOT,
              "sparsities lie in [%.4f, %.4f], 2 lambda wide as published, but not centred on %s",
              low,
              high,
              target));
    }
    SparsityAllocation allocation =
        SparsityAllocation.ofBlocks(target, sparsities, profiles, warnings);
    if (Math.abs(allocation.weightedMean() - target) > 1e-3) {
      warnings.add(
          String.format(
              Locale.ROOT,
              "blocks differ in size: the plain mean of their sparsities is %s, but %.4f of all weights will go",
              target,
              allocation.weightedMean()));
      return allocation.withWarnings(warnings);
    }
    return allocation;
  }

  private void requireInRange(List<Double> sparsities, double target, double mean) {
    for (int i = 0; i < sparsities.size(); i++) {
      double sparsity = sparsities.get(i);
      if (!(sparsity >= 0 && sparsity < 1)) {
        // s_max = S + λ·u and s_min = S − λ·(2 − u) with u = mean(x) / λ
        double u = mean / lambda;
        double limit = Math.min((1 - target) / u, target / (2 - u));
        double shown = Math.floor(limit * 1e4 + 1e-6) / 1e4; // rounded up, it could be refused too
        throw new IllegalArgumentException(
            String.format(
                Locale.ROOT,
                "Cannot allocate sparsity %s over %d blocks with --lambda %s: block %d would get %.4f, outside [0, 1); use %s",
                target,
                sparsities.size(),
                lambda,
                i,
                sparsity,
                shown > 0
                    ? String.format(Locale.ROOT, "a --lambda below %.4f", shown)
                    : "--allocation uniform"));
      }
    }
  }
}
