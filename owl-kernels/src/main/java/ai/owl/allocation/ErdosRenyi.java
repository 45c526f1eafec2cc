package ai.owl.allocation;

import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * Erdős–Rényi densities (arXiv 1707.04780; as in RigL, arXiv 1911.11134): a linear layer keeps
 * {@code ε · (rows + cols) / (rows · cols)} of its weights, the smaller ones more, with the one ε
 * that meets the target; layers that would keep more than all are dense, and ε is solved again for
 * the others. By shapes alone, so all blocks are treated alike.
 *
 * <p>The Erdős–Rényi kernel (ERK) adds a kernel's height and width to numerator and denominator;
 * linear layers have none, so both are the same.
 */
public record ErdosRenyi() implements SparsityAllocator {
  @Override
  public String name() {
    return "er";
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of();
  }

  @Override
  public boolean perLinear() {
    return true;
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    LinearUnits units = new LinearUnits(name(), profiles);
    double[] density = new double[units.size()]; // without ε
    for (int i = 0; i < density.length; i++) {
      LinearProfile linear = units.linears().get(i);
      density[i] = (double) (linear.rows() + linear.cols()) / linear.weights();
    }
    boolean[] dense = new boolean[density.length];
    double epsilon = 0;
    while (true) {
      double budget = 0;
      double divisor = 0;
      double largest = 0;
      for (int i = 0; i < density.length; i++) {
        double weights = units.weights(i);
        if (dense[i]) {
          budget -= weights * target;
        } else {
          budget += weights * (1 - target);
          divisor += density[i] * weights;
          largest = Math.max(largest, density[i]);
        }
      }
      if (divisor == 0) {
        break; // nothing goes, all are dense
      }
      epsilon = budget / divisor;
      if (epsilon * largest <= 1) {
        break;
      }
      for (int i = 0; i < density.length; i++) {
        dense[i] |= density[i] == largest;
      }
    }
    double[] sparsities = new double[density.length];
    int whole = 0;
    for (int i = 0; i < density.length; i++) {
      sparsities[i] = dense[i] ? 0 : 1 - epsilon * density[i];
      whole += dense[i] ? 1 : 0;
    }
    return units.allocation(
        target,
        sparsities,
        whole == 0
            ? List.of()
            : List.of(
                String.format(
                    Locale.ROOT,
                    "er leaves %d of %d linear layers dense: they are so small that their share"
                        + " would be more than all",
                    whole,
                    density.length)));
  }
}
