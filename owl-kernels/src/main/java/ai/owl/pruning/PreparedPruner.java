package ai.owl.pruning;

import ai.owl.tensor.Matrix;
import java.util.List;

/**
 * A {@link Pruner} that has looked at the activations of an input, for the matrices that read it.
 */
@FunctionalInterface
interface PreparedPruner extends AutoCloseable {
  /** As {@link Pruner#prune}. */
  List<String> prune(Matrix weight, SparsityPattern pattern);

  /** Gives back what was worked out. */
  @Override
  default void close() {}
}
