package ai.owl.allocation;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The linear layers of all blocks in a row: what an allocation by linear layer is made over. */
final class LinearUnits {
  private static final double NEARLY_ALL = 0.99;

  private final String allocation;
  private final List<LayerProfile> profiles;
  private final List<LinearProfile> linears = new ArrayList<>();

  /**
   * @param allocation its name, for messages
   * @throws IllegalArgumentException if of some block only its size is known
   */
  LinearUnits(String allocation, List<LayerProfile> profiles) {
    this.allocation = allocation;
    this.profiles = profiles;
    for (LayerProfile profile : profiles) {
      if (profile.linears().isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot allocate by "
                + allocation
                + ": of block "
                + profile.block()
                + " only the size is known, and not its linear layers");
      }
      linears.addAll(profile.linears());
    }
  }

  List<LinearProfile> linears() {
    return linears;
  }

  int size() {
    return linears.size();
  }

  String name(int unit) {
    return linears.get(unit).name();
  }

  long weights(int unit) {
    return linears.get(unit).weights();
  }

  /** Prunable weights of the model; a double, since sums of products are made with it. */
  double weights() {
    double sum = 0;
    for (LinearProfile linear : linears) {
      sum += linear.weights();
    }
    return sum;
  }

  double weightedMean(double[] values) {
    double sum = 0;
    for (int i = 0; i < values.length; i++) {
      sum += values[i] * weights(i);
    }
    return sum / weights();
  }

  /** Refuses evidence that is missing. */
  void require(boolean measured, int unit, Evidence what) {
    if (!measured) {
      throw new IllegalArgumentException(
          "Cannot allocate by " + allocation + ": " + name(unit) + " has no " + what + " measured");
    }
  }

  /**
   * The allocation that takes a number of weights from each linear layer.
   *
   * @param removed may be fractions, since where the last ones go is a tie
   */
  SparsityAllocation removing(double target, double[] removed) {
    double[] sparsities = new double[removed.length];
    for (int i = 0; i < removed.length; i++) {
      sparsities[i] = removed[i] / weights(i);
      if (!(sparsities[i] < 1)) {
        throw new IllegalArgumentException(
            "Cannot allocate sparsity "
                + target
                + " by "
                + allocation
                + ": nothing would be left of "
                + name(i)
                + "; use a lower --sparsity, or an --allocation with bounds, such as owl");
      }
    }
    return allocation(target, sparsities, nearlyGone(sparsities));
  }

  /** A sentence on linear layers that lose nearly all. */
  private List<String> nearlyGone(double[] sparsities) {
    int count = 0;
    int most = 0;
    for (int i = 0; i < sparsities.length; i++) {
      count += sparsities[i] > NEARLY_ALL ? 1 : 0;
      most = sparsities[i] > sparsities[most] ? i : most;
    }
    return count == 0
        ? List.of()
        : List.of(
            String.format(
                Locale.ROOT,
                "%s takes more than %.0f %% of the weights of %d of %d linear layers, most from %s:"
                    + " %.4f",
                allocation,
                100 * NEARLY_ALL,
                count,
                sparsities.length,
                name(most),
                sparsities[most]));
  }

  SparsityAllocation allocation(double target, double[] sparsities, List<String> warnings) {
    List<List<Double>> byBlock = new ArrayList<>();
    int unit = 0;
    for (LayerProfile profile : profiles) {
      List<Double> ofBlock = new ArrayList<>();
      for (int i = 0; i < profile.linears().size(); i++) {
        ofBlock.add(sparsities[unit++]);
      }
      byBlock.add(ofBlock);
    }
    return SparsityAllocation.ofLinears(target, byBlock, profiles, warnings);
  }
}
