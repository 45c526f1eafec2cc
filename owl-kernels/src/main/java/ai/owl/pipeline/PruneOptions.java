package ai.owl.pipeline;

import ai.owl.allocation.Owl;
import ai.owl.allocation.Rounding;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.kernel.Compute;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import ai.owl.pruning.WandaVariant;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;

/**
 * All that a pruning run can be told, besides the tokens it works with. Immutable, and valid once
 * made.
 *
 * @param model location of the checkpoint to prune
 * @param output location of the folder to write the pruned checkpoint to
 * @param pattern where zeros may stand, and the share S of the weights of the decoder blocks'
 *     linear layers to remove
 * @param pruner which weights go
 * @param allocator how much goes from where
 * @param rounding how the allocation fits a pattern that keeps N of M
 * @param propagation which activations the pruner sees
 * @param overwrite whether an output that is already there may be replaced
 * @param compute what the products of linear layers and of attention are computed in
 */
public record PruneOptions(
    String model,
    String output,
    SparsityPattern pattern,
    Pruner pruner,
    SparsityAllocator allocator,
    Rounding rounding,
    Propagation propagation,
    boolean overwrite,
    Compute compute)
    implements Serializable {
  public PruneOptions {
    if (model.isBlank()) {
      throw new IllegalArgumentException("Cannot use an empty --model");
    }
    if (output.isBlank()) {
      throw new IllegalArgumentException("Cannot use an empty --output");
    }
    if (pattern instanceof SparsityPattern.NofM nm) {
      if (allocator.perLinear()) {
        throw new IllegalArgumentException(
            "Cannot use --allocation "
                + allocator.name()
                + " with --pattern "
                + nm.label()
                + ": it gives each linear layer a sparsity of its own, which whole weights of every "
                + nm.of()
                + " cannot follow; use one by block, such as owl");
      }
      if (pruner instanceof WandaVariant) {
        throw new IllegalArgumentException(
            "Cannot use --use-variant with --pattern "
                + nm.label()
                + ": it decides how many weights of a row go, which the pattern has decided");
      }
      if (pruner instanceof SparseGpt sparseGpt && sparseGpt.blockColumns() % nm.of() != 0) {
        throw new IllegalArgumentException(
            "Cannot use --pattern "
                + nm.label()
                + " with --block-columns "
                + sparseGpt.blockColumns()
                + ": groups of "
                + nm.of()
                + " columns do not fill it; give a multiple of "
                + nm.of());
      }
    }
  }

  /** Options whose products are float32. */
  public PruneOptions(
      String model,
      String output,
      SparsityPattern pattern,
      Pruner pruner,
      SparsityAllocator allocator,
      Rounding rounding,
      Propagation propagation,
      boolean overwrite) {
    this(
        model,
        output,
        pattern,
        pruner,
        allocator,
        rounding,
        propagation,
        overwrite,
        Compute.FLOAT32);
  }

  /** Options without a pattern. */
  public PruneOptions(
      String model,
      String output,
      double sparsity,
      Pruner pruner,
      SparsityAllocator allocator,
      Propagation propagation,
      boolean overwrite) {
    this(
        model,
        output,
        new SparsityPattern.Unstructured(sparsity),
        pruner,
        allocator,
        Rounding.MEAN_PRESERVING,
        propagation,
        overwrite);
  }

  /** OWL with Wanda as published for LLaMA-7B: S = 0.7, M = 5, λ = 0.08, sequential. */
  public static PruneOptions defaults(String model, String output) {
    return new PruneOptions(
        model,
        output,
        0.7,
        new MetricPruner(new Wanda()),
        new Owl(5, 0.08),
        Propagation.SEQUENTIAL,
        false);
  }

  /** The share of weights to remove, in [0, 1). */
  public double sparsity() {
    return pattern.sparsity();
  }

  public PruneOptions withSparsity(double value) {
    return withPattern(pattern.at(value));
  }

  public PruneOptions withPattern(SparsityPattern value) {
    return new PruneOptions(
        model, output, value, pruner, allocator, rounding, propagation, overwrite, compute);
  }

  public PruneOptions withPruner(Pruner value) {
    return new PruneOptions(
        model, output, pattern, value, allocator, rounding, propagation, overwrite, compute);
  }

  public PruneOptions withAllocator(SparsityAllocator value) {
    return new PruneOptions(
        model, output, pattern, pruner, value, rounding, propagation, overwrite, compute);
  }

  public PruneOptions withRounding(Rounding value) {
    return new PruneOptions(
        model, output, pattern, pruner, allocator, value, propagation, overwrite, compute);
  }

  public PruneOptions withPropagation(Propagation value) {
    return new PruneOptions(
        model, output, pattern, pruner, allocator, rounding, value, overwrite, compute);
  }

  public PruneOptions withModel(String value) {
    return new PruneOptions(
        value, output, pattern, pruner, allocator, rounding, propagation, overwrite, compute);
  }

  public PruneOptions withOutput(String value) {
    return new PruneOptions(
        model, value, pattern, pruner, allocator, rounding, propagation, overwrite, compute);
  }

  public PruneOptions withOverwrite(boolean value) {
    return new PruneOptions(
        model, output, pattern, pruner, allocator, rounding, propagation, value, compute);
  }

  public PruneOptions withCompute(Compute value) {
    return new PruneOptions(
        model, output, pattern, pruner, allocator, rounding, propagation, overwrite, value);
  }

  /** Whether anything of the run needs calibration tokens. */
  public boolean needsCalibration() {
    return pruner.needsStatistics() || allocator.needsActivations();
  }

  /** Whether the pruner's norms come from a pass of their own through the blocks already pruned. */
  public boolean needsSequentialPass() {
    return pruner.needs() == Pruner.Evidence.NORMS && propagation == Propagation.SEQUENTIAL;
  }

  /**
   * Whether blocks are pruned while the calibration sequences run through them, since what the
   * pruner has to know of a block's activations is too large to be kept for all blocks.
   */
  public boolean prunesOnTheWay() {
    return pruner.needs() == Pruner.Evidence.GRAM;
  }

  /** Whether the norms of the dense model's activations are needed. */
  public boolean needsDensePass() {
    return allocator.needsActivations()
        || pruner.needs() == Pruner.Evidence.NORMS && propagation == Propagation.DENSE;
  }

  /** How it is pruned, as JSON, but not what and whereto. */
  ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("sparsity", sparsity());
    json.put("pattern", pattern.label());
    json.put("metric", pruner.name());
    pruner.settings().forEach((option, value) -> json.put(camelCase(option), value));
    json.put("allocation", allocator.name());
    allocator.settings().forEach(json::putPOJO);
    if (pattern instanceof SparsityPattern.NofM) {
      json.put("rounding", rounding.toString());
    }
    json.put("propagation", pruner.needsStatistics() ? propagation.label() : null);
    json.put("compute", compute.toString());
    return json;
  }

  private static String camelCase(String option) {
    StringBuilder name = new StringBuilder();
    for (String word : option.split("-")) {
      name.append(
          name.isEmpty() ? word : Character.toUpperCase(word.charAt(0)) + word.substring(1));
    }
    return name.toString();
  }
}
