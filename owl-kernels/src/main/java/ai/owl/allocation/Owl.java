package ai.owl.allocation;

import java.util.List;
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
 * mean(x). {@link OwlBounded} keeps to the text.
 *
 * @param threshold M: a weight is an outlier if its score exceeds M times the block's mean
 * @param lambda λ, half the width of the range of sparsities
 */
public record Owl(double threshold, double lambda) implements SparsityAllocator {
  public Owl {
    OutlierRule.require(threshold, lambda);
  }

  @Override
  public String name() {
    return "owl";
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
    return OutlierRule.spread("OWL", lambda).risk(target, OutlierRule.COUNTED);
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    double[] ratios = OutlierRule.ratios(profiles, threshold);
    MinMaxSpread spread = OutlierRule.spread("OWL", lambda);
    Optional<double[]> kept = spread.kept(ratios);
    return kept.isEmpty()
        ? spread.uniform(
            target, profiles, "blocks", OutlierRule.whyAlike(ratios, threshold, "block"))
        : spread.ofBlocks(kept.get(), target, profiles);
  }
}
