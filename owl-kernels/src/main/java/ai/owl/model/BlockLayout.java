package ai.owl.model;

import ai.owl.checkpoint.TensorRef;
import java.io.Serializable;
import java.util.List;
import java.util.Map;

/**
 * The addresses of everything one decoder block consists of: what a task needs to load, run, prune
 * and write it.
 *
 * @param index 0-based position in the model
 * @param linears the prunable layers, in the order of {@link Architecture#linears}
 * @param norms the norms, by where they stand
 * @param tensors all tensors of the block in checkpoint order, the above included
 */
public record BlockLayout(
    int index, List<LinearLayer> linears, Map<NormRole, NormLayer> norms, List<TensorRef> tensors)
    implements Serializable {
  public BlockLayout {
    linears = List.copyOf(linears);
    norms = Map.copyOf(norms);
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
