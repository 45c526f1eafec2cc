package ai.owl.pruning;

import ai.owl.calibration.ActivationStatistics;
import ai.owl.tensor.Matrix;
import java.io.Serializable;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * An algorithm that prunes one weight matrix. The {@code permits} list is the catalogue.
 *
 * <p>A weight that goes becomes +0.0.
 */
public sealed interface Pruner extends Serializable permits MetricPruner, SparseGpt, WandaVariant {
  /** What a pruner has to know of the input of the matrix. */
  enum Evidence {
    /** Nothing. */
    NONE,
    /** {@link ai.owl.calibration.ColumnNorms}. */
    NORMS,
    /** {@link ai.owl.calibration.Gram}. */
    GRAM
  }

  /** The name that the command line uses. */
  String name();

  /** Hyper-parameters that are not what was published, by the name of their option. */
  default Map<String, String> settings() {
    return Map.of();
  }

  /** The name with what {@link #settings} says, for tables. */
  default String label() {
    StringBuilder label = new StringBuilder(name());
    settings()
        .forEach((option, value) -> label.append(' ').append(option).append('=').append(value));
    return label.toString();
  }

  /** What it has to be given. */
  Evidence needs();

  /** Whether it looks at activations; if not, nobody needs to gather them for it. */
  default boolean needsStatistics() {
    return needs() != Evidence.NONE;
  }

  /**
   * Works out what all matrices that read the same input have in common.
   *
   * @param statistics of the input, of the kind that {@link #needs} says; empty if none. In use
   *     until what is returned is closed.
   */
  default PreparedPruner prepare(Optional<ActivationStatistics> statistics) {
    return (weight, pattern) -> prune(weight, statistics, pattern);
  }

  /**
   * Sets weights to zero, and changes others if the algorithm makes up for the loss that way.
   *
   * @param weight (out_features, in_features), changed in place
   * @param statistics of the matrix's input, of the kind that {@link #needs} says; empty if none
   * @param pattern how many zeros, and where
   * @return what the user should know of how it went, one sentence each; mostly none
   */
  List<String> prune(
      Matrix weight, Optional<ActivationStatistics> statistics, SparsityPattern pattern);
}
