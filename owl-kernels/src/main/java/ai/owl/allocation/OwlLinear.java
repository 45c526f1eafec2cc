package ai.owl.allocation;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * OWL by linear layer: {@link Owl}'s formula over all linear layers of the model, with D_i the
 * outlier ratio of a layer against its own mean score. The published code has no such mode, but its
 * users ask for it. Over units of one size the formula's plain mean is the right one; linear layers
 * differ in size, so here mean(x) is weighted by size, and S is the share of all weights that goes.
 *
 * @param threshold M: a weight is an outlier if its score exceeds M times its layer's mean
 * @param lambda λ, half the width of the range of sparsities
 */
public record OwlLinear(double threshold, double lambda) implements SparsityAllocator {
  public OwlLinear {
    OutlierRule.require(threshold, lambda);
  }

  @Override
  public String name() {
    return "owl-linear";
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
  public boolean perLinear() {
    return true;
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    LinearUnits units = new LinearUnits(name(), profiles);
    double[] ratios =
        units.linears().stream().mapToDouble(linear -> linear.outlierRatio(threshold)).toArray();
    MinMaxSpread spread = OutlierRule.spread(name(), lambda);
    Optional<double[]> kept = spread.kept(ratios);
    if (kept.isEmpty()) {
      return spread.uniform(
          target,
          profiles,
          "linear layers",
          OutlierRule.whyAlike(ratios, threshold, "linear layer"));
    }
    double[] sparsities =
        spread.sparsities(
            kept.get(), units.weightedMean(kept.get()), target, "linear layers", units::name);
    List<Double> list = new ArrayList<>();
    for (double sparsity : sparsities) {
      list.add(sparsity);
    }
    return units.allocation(target, sparsities, spread.offCentre(list, target));
  }
}
