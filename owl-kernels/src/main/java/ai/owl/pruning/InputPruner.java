package ai.owl.pruning;

import ai.owl.calibration.ActivationStatistics;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.kernel.ZeroCount;
import ai.owl.model.LinearLayer;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Prunes the linear layers that read one input, one after the other. What they have in common, as
 * the factor of SparseGPT's inverse Hessian, is worked out once, for the first of them. Owned:
 * whoever makes it closes it.
 */
public final class InputPruner implements AutoCloseable {
  private final Pruner pruner;
  private final Optional<ActivationStatistics> statistics;
  private PreparedPruner prepared;

  /**
   * @param statistics of the input, of the kind that the pruner needs; empty if none. In use until
   *     this is closed.
   */
  public InputPruner(Pruner pruner, Optional<ActivationStatistics> statistics) {
    this.pruner = pruner;
    this.statistics = statistics;
  }

  /**
   * Prunes one linear layer. What its weights are afterwards is what its checkpoint can store.
   *
   * @param weight of the layer, changed in place
   */
  public PrunedLinear prune(LinearLayer linear, Matrix weight, SparsityPattern pattern) {
    List<String> notes = new ArrayList<>();
    try {
      if (prepared == null) {
        prepared = pruner.prepare(statistics);
      }
      for (String note : prepared.prune(weight, pattern)) {
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

  @Override
  public void close() {
    if (prepared != null) {
      prepared.close();
    }
  }
}
