package ai.owl.calibration;

import ai.owl.model.ActivationObserver;
import ai.owl.model.LinearInput;
import ai.owl.tensor.Matrix;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;

/**
 * The {@link Gram} matrices of the inputs of one block, gathered by observing its forward pass.
 *
 * <p>Float32 sums depend on their order, and there is no room to keep a Gram matrix a sequence. So
 * sequences are summed in groups of {@link #GROUP}, each in its order, and the groups in theirs:
 * fixed by the data, and the same for any number of tasks.
 */
public final class BlockGrams implements ActivationObserver, BlockEvidence, AutoCloseable {
  /**
   * Sequences of a group. More would leave large clusters without work, since a group is one
   * task's; fewer would make more matrices to send.
   */
  public static final int GROUP = 8;

  private final Map<LinearInput, Gram> inputs = new EnumMap<>(LinearInput.class);

  @Override
  public void observe(LinearInput input, Matrix x) {
    inputs.computeIfAbsent(input, any -> new Gram(x.cols())).add(x);
  }

  /** Adds what the next group of sequences gave. */
  public void merge(BlockGrams other) {
    other.inputs.forEach(
        (input, gram) ->
            inputs.computeIfAbsent(input, any -> new Gram(gram.features())).merge(gram));
  }

  /** The inputs at which something was observed. */
  public Set<LinearInput> inputs() {
    return inputs.keySet();
  }

  /** The Gram matrix at one input; still owned by this. */
  @Override
  public Gram at(LinearInput input) {
    Gram gram = inputs.get(input);
    if (gram == null) {
      throw new IllegalStateException("Nothing was observed at " + input);
    }
    return gram;
  }

  @Override
  public void close() {
    inputs.values().forEach(Gram::close);
    inputs.clear();
  }
}
