package ai.owl.allocation;

import java.io.Serializable;
import java.util.List;

/**
 * One sparsity for each block. Exists only if every sparsity is in [0, 1) and their plain mean over
 * blocks is the target, which is what the published OWL formula guarantees; the mean weighted by
 * block size, which differs where blocks do, can be asked for.
 *
 * @param target the asked share of weights to remove
 * @param sparsities by block
 * @param weights prunable weights by block
 * @param warnings what the user should know of how it came about, one sentence each
 */
public record SparsityAllocation(
    double target, List<Double> sparsities, List<Long> weights, List<String> warnings)
    implements Serializable {
  private static final double TOLERANCE = 1e-9;

  public SparsityAllocation {
    sparsities = List.copyOf(sparsities);
    weights = List.copyOf(weights);
    warnings = List.copyOf(warnings);
    if (sparsities.isEmpty() || sparsities.size() != weights.size()) {
      throw new IllegalArgumentException(
          "Cannot allocate " + sparsities.size() + " sparsities to " + weights.size() + " blocks");
    }
    double sum = 0;
    for (int i = 0; i < sparsities.size(); i++) {
      double sparsity = sparsities.get(i);
      if (!(sparsity >= 0 && sparsity < 1)) {
        throw new IllegalArgumentException(
            "Cannot allocate a sparsity of "
                + sparsity
                + " to block "
                + i
                + ": it is outside [0, 1)");
      }
      sum += sparsity;
    }
    double mean = sum / sparsities.size();
    if (!(Math.abs(mean - target) <= TOLERANCE)) {
      throw new IllegalArgumentException(
          "Cannot allocate a mean sparsity of " + mean + ": the target is " + target);
    }
  }

  /** The sparsity of a block. */
  public double sparsity(int block) {
    return sparsities.get(block);
  }

  /** The share of all prunable weights that goes, if every block meets its sparsity exactly. */
  public double weightedMean() {
    double removed = 0;
    double all = 0;
    for (int i = 0; i < sparsities.size(); i++) {
      removed += sparsities.get(i) * weights.get(i);
      all += weights.get(i);
    }
    return removed / all;
  }
}
