package ai.owl.pipeline;

import ai.owl.allocation.Rounding;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.kernel.Compute;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import java.io.Serializable;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * What a sweep tries: every way that the lists combine to, each once. A way that would prune like
 * another, such as two propagations of a pruner that looks at no activations, is tried once. An
 * allocator that depends on the pruner is suited to each.
 *
 * @param model location of the checkpoint
 * @param output folder for the rows and the reports
 * @param compute what the products of linear layers and of attention are computed in
 */
public record SweepOptions(
    String model,
    String output,
    List<SparsityPattern> patterns,
    List<Pruner> pruners,
    List<SparsityAllocator> allocators,
    Rounding rounding,
    List<Propagation> propagations,
    Compute compute)
    implements Serializable {
  public SweepOptions {
    patterns = List.copyOf(patterns);
    pruners = List.copyOf(pruners);
    allocators = List.copyOf(allocators);
    propagations = List.copyOf(propagations);
    if (patterns.isEmpty() || pruners.isEmpty() || allocators.isEmpty() || propagations.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot sweep an empty grid: give at least one --sparsity, --metric, --allocation and"
              + " --propagation, and for owl one --outlier-threshold and one --lambda");
    }
  }

  /** A grid whose products are float32. */
  public SweepOptions(
      String model,
      String output,
      List<SparsityPattern> patterns,
      List<Pruner> pruners,
      List<SparsityAllocator> allocators,
      Rounding rounding,
      List<Propagation> propagations) {
    this(model, output, patterns, pruners, allocators, rounding, propagations, Compute.FLOAT32);
  }

  public SweepOptions withCompute(Compute value) {
    return new SweepOptions(
        model, output, patterns, pruners, allocators, rounding, propagations, value);
  }

  /** The ways, in the order of the lists, the sparsity changing slowest. */
  public List<PruneOptions> ways() {
    Set<PruneOptions> ways = new LinkedHashSet<>();
    for (SparsityPattern pattern : patterns) {
      for (Pruner pruner : pruners) {
        for (SparsityAllocator allocator : allocators) {
          for (Propagation propagation : propagations) {
            Propagation matters = pruner.needsStatistics() ? propagation : Propagation.SEQUENTIAL;
            ways.add(
                new PruneOptions(
                    model,
                    output,
                    pattern,
                    pruner,
                    allocator.suitedTo(pruner),
                    rounding,
                    matters,
                    false,
                    compute));
          }
        }
      }
    }
    return List.copyOf(ways);
  }
}
