package ai.owl.allocation;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * The arithmetic progression of ATP (Huang et al., "Determining Layer-wise Sparsity for Large
 * Language Models Through a Theoretical Perspective", 2025): sparsities grow by β from each block
 * to the next,
 *
 * <pre>
 * s_i = S − β(L − 1)/2 + β·i          i = 0 … L − 1
 * </pre>
 *
 * Its authors search β by perplexity, on the text that they report it for; search it on another
 * with a sweep.
 *
 * @param beta β, at least 0
 */
public record Atp(double beta) implements SparsityAllocator {
  public Atp {
    if (!(beta >= 0 && beta < 1)) {
      throw new IllegalArgumentException(
          "Cannot use --atp-beta "
              + beta
              + ": it is the step of sparsity from block to block and must be in [0, 1)");
    }
  }

  @Override
  public String name() {
    return "atp";
  }

  @Override
  public String label() {
    return "atp β=" + OutlierRule.plain(beta);
  }

  @Override
  public Map<String, Object> settings() {
    return Map.of("atpBeta", beta);
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of();
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    int last = profiles.size() - 1;
    double first = target - beta * last / 2;
    if (!(first >= 0 && first + beta * last < 1)) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "Cannot allocate sparsity %s over %d blocks with --atp-beta %s: sparsities would go"
                  + " from %.4f to %.4f, outside [0, 1); use %s",
              target,
              profiles.size(),
              beta,
              first,
              first + beta * last,
              MinMaxSpread.below("--atp-beta", 2 * Math.min(target, 1 - target) / last)));
    }
    List<Double> sparsities = new ArrayList<>();
    for (int i = 0; i <= last; i++) {
      sparsities.add(first + beta * i);
    }
    return SparsityAllocation.ofBlocksByPlainMean(target, sparsities, profiles, List.of());
  }
}
