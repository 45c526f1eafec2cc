package ai.owl.allocation;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * OWL as the paper's text has it (arXiv 2310.05175, section 3.3): {@code s_i ∝ 1 − D_i}, all of
 * them in [S − λ, S + λ], and their mean S. With D̄ the mean outlier ratio, weighted by the blocks'
 * sizes,
 *
 * <pre>
 * s_i = S − λ · (D_i − D̄) / max_j |D_j − D̄|
 * </pre>
 *
 * Of all affine maps that keep the mean weighted by size at S, this is the steepest that stays
 * inside: the block whose outlier ratio is farthest from the mean is on a bound, and the range is
 * between λ and 2λ wide. The published code, which {@link Owl} follows, always spans 2λ instead,
 * and leaves [S − λ, S + λ] where it must.
 *
 * @param threshold M: a weight is an outlier if its score exceeds M times the block's mean
 * @param lambda λ, the largest distance of a sparsity from S
 */
public record OwlBounded(double threshold, double lambda) implements SparsityAllocator {
  public OwlBounded {
    OutlierRule.require(threshold, lambda);
  }

  @Override
  public String name() {
    return "owl-bounded";
  }

  @Override
  public String label() {
    return OutlierRule.label(name(), threshold, lambda);
  }

  @Override
  public Map<String, Object> settings() {
    return OutlierRule.settings(threshold, lambda);
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of(Evidence.OUTLIERS);
  }

  @Override
  public Optional<Double> outlierThreshold() {
    return Optional.of(threshold);
  }

  @Override
  public Optional<String> risk(double target) {
    return target + lambda >= 1 || target - lambda < 0
        ? Optional.of(
            String.format(
                Locale.ROOT,
                "--lambda %s may be too much for sparsity %s, which shows when %s; a --lambda below"
                    + " %.4f is safe",
                lambda,
                target,
                OutlierRule.COUNTED,
                Math.min(1 - target, target)))
        : Optional.empty();
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    double[] ratios = OutlierRule.ratios(profiles, threshold);
    double sum = 0;
    double weights = 0;
    for (int i = 0; i < ratios.length; i++) {
      sum += ratios[i] * profiles.get(i).weights();
      weights += profiles.get(i).weights();
    }
    double mean = sum / weights;
    double farthest = 0;
    boolean alike = true;
    for (double ratio : ratios) {
      farthest = Math.max(farthest, Math.abs(ratio - mean));
      alike &= ratio == ratios[0]; // of equal ratios, the mean may be off by rounding
    }
    if (alike) {
      return OutlierRule.spread(name(), lambda)
          .uniform(target, profiles, "blocks", OutlierRule.whyAlike(ratios, threshold, "block"));
    }
    List<Double> sparsities = new ArrayList<>();
    double limit = Double.POSITIVE_INFINITY;
    int outside = -1;
    for (int i = 0; i < ratios.length; i++) {
      double distance = (ratios[i] - mean) / farthest;
      double sparsity = target - lambda * distance;
      if (distance != 0) {
        limit = Math.min(limit, distance > 0 ? target / distance : (1 - target) / -distance);
      }
      if (outside < 0 && !(sparsity >= 0 && sparsity < 1)) {
        outside = i;
      }
      sparsities.add(sparsity);
    }
    if (outside >= 0) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "Cannot allocate sparsity %s over %d blocks with --lambda %s: block %d would get"
                  + " %.4f, outside [0, 1); use %s",
              target,
              ratios.length,
              lambda,
              outside,
              sparsities.get(outside),
              MinMaxSpread.below("--lambda", limit)));
    }
    return SparsityAllocation.ofBlocks(target, sparsities, profiles, List.of());
  }
}
