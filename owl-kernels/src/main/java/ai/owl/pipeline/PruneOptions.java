package ai.owl.pipeline;

import ai.owl.allocation.Owl;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.Wanda;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;

/**
 * All that a pruning run can be told, besides the tokens it works with. Immutable, and valid once
 * made.
 *
 * @param model location of the checkpoint to prune
 * @param output location of the folder to write the pruned checkpoint to
 * @param sparsity share S of the weights of the decoder blocks' linear layers to remove, in [0, 1)
 * @param pruner which weights go
 * @param allocator how much goes from where
 * @param propagation which activations the pruner sees
 * @param overwrite whether an output that is already there may be replaced
 */
public record PruneOptions(
    String model,
    String output,
    double sparsity,
    Pruner pruner,
    SparsityAllocator allocator,
    Propagation propagation,
    boolean overwrite)
    implements Serializable {
  public PruneOptions {
    if (model.isBlank()) {
      throw new IllegalArgumentException("Cannot use an empty --model");
    }
    if (output.isBlank()) {
      throw new IllegalArgumentException("Cannot use an empty --output");
    }
    if (!(sparsity >= 0 && sparsity < 1)) {
      throw new IllegalArgumentException(
          "Cannot use --sparsity "
              + sparsity
              + ": it is the share of weights to remove and must be in [0, 1)");
    }
  }

  /** OWL with Wanda as published for LLaMA-7B: S = 0.7, M = 5, λ = 0.08, sequential. */
  public static PruneOptions defaults(String model, String output) {
    return new PruneOptions(
        model, output, 0.7, new Wanda(), new Owl(5, 0.08), Propagation.SEQUENTIAL, false);
  }

  public PruneOptions withSparsity(double value) {
    return new PruneOptions(model, output, value, pruner, allocator, propagation, overwrite);
  }

  public PruneOptions withPruner(Pruner value) {
    return new PruneOptions(model, output, sparsity, value, allocator, propagation, overwrite);
  }

  public PruneOptions withAllocator(SparsityAllocator value) {
    return new PruneOptions(model, output, sparsity, pruner, value, propagation, overwrite);
  }

  public PruneOptions withPropagation(Propagation value) {
    return new PruneOptions(model, output, sparsity, pruner, allocator, value, overwrite);
  }

  public PruneOptions withOutput(String value) {
    return new PruneOptions(model, value, sparsity, pruner, allocator, propagation, overwrite);
  }

  public PruneOptions withOverwrite(boolean value) {
    return new PruneOptions(model, output, sparsity, pruner, allocator, propagation, value);
  }

  /** Whether anything of the run needs calibration tokens. */
  public boolean needsCalibration() {
    return pruner.needsStatistics() || allocator.needsOutlierRatios();
  }

  /**
   * Whether the pruner's statistics come from a pass of their own through the blocks already
   * pruned.
   */
  public boolean needsSequentialPass() {
    return pruner.needsStatistics() && propagation == Propagation.SEQUENTIAL;
  }

  /** Whether a pass through the dense model is needed. */
  public boolean needsDensePass() {
    return allocator.needsOutlierRatios()
        || pruner.needsStatistics() && propagation == Propagation.DENSE;
  }

  /** How it is pruned, as JSON, but not what and whereto. */
  ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("sparsity", sparsity);
    json.put("metric", pruner.name());
    json.put("allocation", allocator.name());
    if (allocator instanceof Owl owl) {
      json.put("outlierThreshold", owl.threshold());
      json.put("lambda", owl.lambda());
    }
    json.put("propagation", pruner.needsStatistics() ? propagation.label() : null);
    return json;
  }
}
