package ai.owl.model;

import ai.owl.checkpoint.TensorRef;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

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

  /** The inputs that the prunable layers read, in the order of the first that reads each. */
  public List<LinearInput> inputs() {
    return linears.stream().map(linear -> linear.role().input()).distinct().toList();
  }

  /** The numbers of the prunable layers that read an input, in their order. */
  public List<Integer> readers(LinearInput input) {
    return IntStream.range(0, linears.size())
        .filter(number -> linears.get(number).role().input() == input)
        .boxed()
        .toList();
  }

  /**
   * The same block with the weights of its linear layers elsewhere.
   *
   * @param weights one a linear layer, of the same name, type and shape as the one it replaces
   */
  public BlockLayout withWeights(List<TensorRef> weights) {
    Map<String, TensorRef> byName = new HashMap<>();
    weights.forEach(weight -> byName.put(weight.name(), weight));
    List<LinearLayer> moved = new ArrayList<>();
    for (LinearLayer linear : linears) {
      TensorRef weight = byName.get(linear.weight().name());
      if (weight == null
          || weight.type() != linear.weight().type()
          || !weight.shape().equals(linear.weight().shape())) {
        throw new IllegalStateException("No place of " + linear.weight().name() + " is known");
      }
      moved.add(
          new LinearLayer(linear.name(), linear.path(), linear.role(), weight, linear.bias()));
    }
    List<TensorRef> all = new ArrayList<>();
    tensors.forEach(tensor -> all.add(byName.getOrDefault(tensor.name(), tensor)));
    return new BlockLayout(index, moved, norms, all);
  }

  /** Bytes of the block in storage. */
  public long bytes() {
    return tensors.stream().mapToLong(TensorRef::bytes).sum();
  }
}
