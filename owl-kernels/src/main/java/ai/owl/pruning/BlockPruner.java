package ai.owl.pruning;

import ai.owl.calibration.BlockStatistics;
import ai.owl.kernel.ZeroCount;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;

/** Prunes all linear layers of a block to one sparsity. */
public final class BlockPruner {
  private BlockPruner() {}

  /**
   * What became of one linear layer.
   *
   * @param sparsity the share of weights that was to go
   * @param weights number of weights
   * @param zeros how many of them are zero now
   */
  public record PrunedLinear(String name, double sparsity, long weights, long zeros)
      implements Serializable {}

  /**
   * Prunes a block in memory.
   *
   * @param statistics of the block's inputs; used only if the pruner needs them
   * @param sparsity in [0, 1)
   * @return one entry a linear layer, in the layout's order
   */
  public static List<PrunedLinear> prune(
      DecoderBlock block, Pruner pruner, BlockStatistics statistics, double sparsity) {
    List<PrunedLinear> pruned = new ArrayList<>();
    for (LinearLayer linear : block.layout().linears()) {
      Matrix weight = block.weight(linear);
      float[] norms =
          pruner.needsStatistics() ? statistics.at(linear.role().input()).norms() : new float[0];
      pruner.prune(weight, norms, sparsity);
      pruned.add(new PrunedLinear(linear.name(), sparsity, weight.size(), ZeroCount.of(weight)));
    }
    return pruned;
  }
}
