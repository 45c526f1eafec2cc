package ai.owl.pruning;

import ai.owl.calibration.ActivationStatistics;
import ai.owl.calibration.BlockEvidence;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.kernel.ZeroCount;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.Serializable;
import java.util.ArrayList;
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
    List<PrunedLinear> pruned = new ArrayList<>();
    List<LinearLayer> linears = block.layout().linears();
    for (int i = 0; i < linears.size(); i++) {
      LinearLayer linear = linears.get(i);
      Optional<ActivationStatistics> statistics =
          pruner.needsStatistics()
              ? Optional.of(evidence.at(linear.role().input()))
              : Optional.empty();
      try (Matrix weight = block.weight(linear)) {
        pruned.add(prune(linear, weight, pruner, statistics, patterns.get(i)));
        block.replace(linear, weight);
      }
    }
    return pruned;
  }

  /**
   * Prunes one linear layer. What its weights are afterwards is what its checkpoint can store.
   *
   * @param weight of the layer, changed in place
   */
  public static PrunedLinear prune(
      LinearLayer linear,
      Matrix weight,
      Pruner pruner,
      Optional<ActivationStatistics> statistics,
      SparsityPattern pattern) {
    List<String> notes = new ArrayList<>();
    try {
      for (String note : pruner.prune(weight, statistics, pattern)) {
        notes.add(linear.name() + ": " + note);
      }
      if (pruner.needs() == Pruner.Evidence.GRAM) {
        roundToStored(weight, linear.weight().type());
      }
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "Cannot prune " + linear.name() + ": " + e.getMessage(), e);
    } catch (MalformedCheckpointException e) {
      throw new MalformedCheckpointException(
          "Cannot prune " + linear.name() + ": " + e.getMessage(), e);
    }
    return new PrunedLinear(
        linear.name(), pattern.sparsity(), weight.size(), ZeroCount.of(weight), notes);
  }

  /**
   * Changed weights are rounded before anything is computed with them, as published; one that
   * becomes zero that way becomes +0.0.
   */
  private static void roundToStored(Matrix weight, DType type) {
    float[] row = new float[weight.cols()];
    byte[] stored = new byte[row.length * type.bytes()];
    for (long r = 0; r < weight.rows(); r++) {
      weight.row(r, row);
      type.narrow(row, row.length, stored, 0);
      type.widen(stored, 0, row, row.length);
      for (int j = 0; j < row.length; j++) {
        if (!Float.isFinite(row[j])) {
          throw new IllegalArgumentException(
              "the weight at ["
                  + r
                  + ", "
                  + j
                  + "] became "
                  + row[j]
                  + " in "
                  + type
                  + "; give a larger --dampening");
        }
        row[j] += 0f; // −0.0 + 0.0 is +0.0
      }
      weight.setRow(r, row);
    }
  }
}
