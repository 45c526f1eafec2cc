package ai.owl.pruning;

import ai.owl.calibration.ActivationStatistics;
import ai.owl.calibration.BlockEvidence;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearInput;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.io.Serializable;
import java.util.List;
import java.util.Optional;

/** Prunes the linear layers of a block. */
public final class BlockPruner {
  private BlockPruner() {}

  /**
   * What became of one linear layer.
   *
   * @param sparsity the share of weights that was to go
   * @param weights number of weights
   * @param zeros how many of them are zero now
   * @param notes what the user should know of it, one sentence each, that name the layer
   */
  public record PrunedLinear(
      String name, double sparsity, long weights, long zeros, List<String> notes)
      implements Serializable {
    public PrunedLinear {
      notes = List.copyOf(notes);
    }

    public PrunedLinear(String name, double sparsity, long weights, long zeros) {
      this(name, sparsity, weights, zeros, List.of());
    }
  }

  /**
   * Prunes a block in memory.
   *
   * @param evidence of the block's inputs; used only if the pruner needs it
   * @param patterns one a linear layer, in the layout's order
   * @return one entry a linear layer, in the layout's order
   */
  public static List<PrunedLinear> prune(
      DecoderBlock block, Pruner pruner, BlockEvidence evidence, List<SparsityPattern> patterns) {
    List<LinearLayer> linears = block.layout().linears();
    PrunedLinear[] pruned = new PrunedLinear[linears.size()];
    for (LinearInput input : block.layout().inputs()) {
      Optional<ActivationStatistics> statistics =
          pruner.needsStatistics() ? Optional.of(evidence.at(input)) : Optional.empty();
      try (InputPruner ofInput = new InputPruner(pruner, statistics)) {
        for (int i : block.layout().readers(input)) {
          LinearLayer linear = linears.get(i);
          try (Matrix weight = block.weight(linear)) {
            pruned[i] = ofInput.prune(linear, weight, patterns.get(i));
            block.replace(linear, weight);
          }
        }
      }
    }
    return List.of(pruned);
  }
}
