package ai.owl.model;

import ai.owl.checkpoint.TensorRef;
import java.io.Serializable;
import java.util.List;

/**
 * The addresses of everything one decoder block consists of: what a task needs to load, run, prune
 * and write it.
 *
 * @param index 0-based position in the model
 * @param linears the prunable layers, in the order of {@link LinearRole}
 * @param attentionNorm gain of the norm before attention
 * @param mlpNorm gain of the norm before the feed-forward part
 * @param tensors all tensors of the block in checkpoint order, the above included
 */
public record BlockLayout(
    int index,
    List<LinearLayer> linears,
    TensorRef attentionNorm,
    TensorRef mlpNorm,
    List<TensorRef> tensors)
    implements Serializable {
  public BlockLayout {
    linears = List.copyOf(linears);
    tensors = List.copyOf(tensors);
  }

  /** Number of prunable weights. */
  public long prunableWeights() {
    return linears.stream().mapToLong(linear -> linear.weight().elements()).sum();
  }

  /** Bytes of the block in storage. */
  public long bytes() {
    return tensors.stream().mapToLong(TensorRef::bytes).sum();
  }
}
