package ai.owl.allocation;

import java.io.Serializable;
import java.util.List;

/**
 * A rule that spreads a target sparsity over the blocks. The {@code permits} list is the catalogue.
 */
public sealed interface SparsityAllocator extends Serializable permits Owl, Uniform {
  /** The name that the command line uses. */
  String name();

  /** The name with the hyper-parameters, for tables. */
  default String label() {
    return name();
  }

  /** Whether it looks at outlier ratios; if not, nobody needs to count them for it. */
  boolean needsOutlierRatios();

  /**
   * The sparsities of the blocks.
   *
   * @param profiles one a block, in order
   * @param target share of weights to remove, in [0, 1)
   * @throws IllegalArgumentException if the target cannot be met with every sparsity in [0, 1)
   */
  SparsityAllocation allocate(List<LayerProfile> profiles, double target);
}
