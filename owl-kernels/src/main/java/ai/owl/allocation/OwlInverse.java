package ai.owl.allocation;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * OWL turned round, the ablation of arXiv 2310.05175 that shows which way outliers matter: the x_i
 * of {@link Owl} become {@code 2λ − x_i}, so blocks with more outliers lose more. Worse than
 * uniform is what it is for.
 *
 * @param threshold M: a weight is an outlier if its score exceeds M times the block's mean
 * @param lambda λ, half the width of the range of sparsities
 */
public record OwlInverse(double threshold, double lambda) implements SparsityAllocator {
  public OwlInverse {
    OutlierRule.require(threshold, lambda);
  }

  @Override
  public String name() {
    return "owl-inverse";
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
    return OutlierRule.spread(name(), lambda).risk(target, OutlierRule.COUNTED);
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    double[] ratios = OutlierRule.ratios(profiles, threshold);
    MinMaxSpread spread = OutlierRule.spread(name(), lambda);
    Optional<double[]> kept = spread.kept(ratios);
    if (kept.isEmpty()) {
      return spread.uniform(
          target, profiles, "blocks", OutlierRule.whyAlike(ratios, threshold, "block"));
    }
    double[] inverse = kept.get();
    for (int i = 0; i < inverse.length; i++) {
      inverse[i] = 2 * lambda - inverse[i];
    }
    return spread.ofBlocks(inverse, target, profiles);
  }
}
