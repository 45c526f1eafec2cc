package ai.owl.calibration;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.model.ActivationObserver;
import ai.owl.model.LinearInput;
import ai.owl.tensor.Matrix;
import java.io.Serializable;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;

/**
 * The {@link ColumnNorms} of the four inputs of one block, gathered by observing its forward pass.
 */
public final class BlockStatistics implements ActivationObserver, BlockEvidence, Serializable {
  private static final long serialVersionUID = 1;

  private final Map<LinearInput, ColumnNorms> inputs = new EnumMap<>(LinearInput.class);

  @Override
  public void observe(LinearInput input, Matrix x) {
    inputs.computeIfAbsent(input, any -> new ColumnNorms(x.cols())).add(x);
  }

  /** Adds what another slice of the calibration set gave for the same block. */
  public void merge(BlockStatistics other) {
    other.inputs.forEach(
        (input, norms) ->
            inputs
                .computeIfAbsent(input, any -> new ColumnNorms(norms.sumsOfSquares().length))
                .merge(norms));
  }

  /** The inputs at which something was observed. */
  public Set<LinearInput> inputs() {
    return inputs.keySet();
  }

  @Override
  public ColumnNorms at(LinearInput input) {
    ColumnNorms norms = inputs.get(input);
    if (norms == null) {
      throw new IllegalStateException("Nothing was observed at " + input);
    }
    return norms;
  }

  /** Sets the statistics at one input. */
  public void put(LinearInput input, ColumnNorms norms) {
    inputs.put(input, norms);
  }

  /**
   * Refuses statistics that no mask can be derived from.
   *
   * @param block the block's index, for the message
   * @throws MalformedCheckpointException if a sum is NaN or infinite
   */
  public void requireFinite(int block) {
    inputs.forEach(
        (input, norms) -> {
          double[] sums = norms.sumsOfSquares();
          for (int j = 0; j < sums.length; j++) {
            if (!(sums[j] <= Float.MAX_VALUE)) {
              throw new MalformedCheckpointException(
                  "Cannot use the activations of block "
                      + block
                      + ": the squared norm of feature "
                      + j
                      + " at the "
                      + input.name().toLowerCase(java.util.Locale.ROOT).replace('_', ' ')
                      + " input is "
                      + sums[j]
                      + "; the checkpoint overflows float32, or is damaged");
            }
          }
        });
  }
}
