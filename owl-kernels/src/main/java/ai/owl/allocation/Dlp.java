package ai.owl.allocation;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Dynamic layerwise pruning (DLP, arXiv 2505.23807), as its code computes it: with m_i the mean
 * score {@code |W_ij| · ‖x_j‖₂} of a block, where the paper's text has the median,
 *
 * <pre>
 * r_i = 1 − m_i / Σ m
 * x_i = (r_i − min r) · 2α / (max r − min r)
 * s_i = 1 − (x_i − mean(x) + 1 − S)
 * </pre>
 *
 * Blocks with larger scores lose more. The plain mean of the s_i is S and their range is 2α wide.
 *
 * @param alpha α, half the width of the range of sparsities; published 0.15
 */
public record Dlp(double alpha) implements SparsityAllocator {
  public Dlp {
    if (!(alpha >= 0 && alpha < 0.5)) {
      throw new IllegalArgumentException(
          "Cannot use --dlp-alpha "
              + alpha
              + ": it must be in [0, 0.5), since sparsities 2 alpha apart must all lie in [0, 1)");
    }
  }

  @Override
  public String name() {
    return "dlp";
  }

  @Override
  public String label() {
    return "dlp α=" + OutlierRule.plain(alpha);
  }

  @Override
  public Map<String, Object> settings() {
    return Map.of("dlpAlpha", alpha);
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of(Evidence.SCORE_SUMS);
  }

  @Override
  public Optional<String> risk(double target) {
    return spread().risk(target, "the scores are added up");
  }

  private MinMaxSpread spread() {
    return new MinMaxSpread(name(), "--dlp-alpha", "alpha", alpha);
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    LinearUnits units = new LinearUnits(name(), profiles);
    for (int i = 0; i < units.size(); i++) {
      units.require(!Double.isNaN(units.linears().get(i).scoreSum()), i, Evidence.SCORE_SUMS);
    }
    double[] values = new double[profiles.size()];
    double sum = 0;
    for (int i = 0; i < values.length; i++) {
      LayerProfile profile = profiles.get(i);
      values[i] =
          profile.linears().stream().mapToDouble(LinearProfile::scoreSum).sum() / profile.weights();
      sum += values[i];
    }
    for (int i = 0; i < values.length; i++) {
      values[i] = 1 - values[i] / sum;
    }
    Optional<double[]> kept = spread().kept(values);
    return kept.isEmpty()
        ? spread()
            .uniform(
                target,
                profiles,
                "blocks",
                values.length == 1 ? "there is only one block" : "all have the same mean score")
        : spread().ofBlocks(kept.get(), target, profiles);
  }
}
