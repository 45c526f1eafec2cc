package ai.owl.allocation;

import ai.owl.pruning.Pruner;
import java.io.Serializable;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A rule that spreads a target sparsity over the blocks, or over their linear layers. The {@code
 * permits} list is the catalogue.
 */
public sealed interface SparsityAllocator extends Serializable
    permits AlphaPruning,
        Atp,
        Dlp,
        ErdosRenyi,
        GivenRatios,
        Global,
        Lamp,
        Owl,
        OwlBounded,
        OwlInverse,
        OwlLinear,
        Uniform {
  /** The name that the command line uses. */
  String name();

  /** The name with the hyper-parameters, for tables. */
  default String label() {
    return name();
  }

  /** The hyper-parameters by name, for reports, in a fixed order. */
  default Map<String, Object> settings() {
    return Map.of();
  }

  /** What has to be measured for it. */
  Set<Evidence> needs();

  /** Whether it looks at activations of the dense model; if not, nobody needs to gather them. */
  default boolean needsActivations() {
    return needs().stream().anyMatch(Evidence::isOfActivations);
  }

  /** The threshold M at which it looks at outliers, if it does. */
  default Optional<Double> outlierThreshold() {
    return Optional.empty();
  }

  /** Whether the linear layers of a block may get sparsities of their own. */
  default boolean perLinear() {
    return false;
  }

  /** The same rule, with what follows from the pruner set to suit it. */
  default SparsityAllocator suitedTo(Pruner pruner) {
    return this;
  }

  /** A word ahead of a long pass, if it can be known already that the target may not be met. */
  default Optional<String> risk(double target) {
    return Optional.empty();
  }

  /**
   * The sparsities.
   *
   * @param profiles one a block, in order
   * @param target share of weights to remove, in [0, 1)
   * @throws IllegalArgumentException if the target cannot be met with every sparsity in [0, 1)
   */
  SparsityAllocation allocate(List<LayerProfile> profiles, double target);
}
