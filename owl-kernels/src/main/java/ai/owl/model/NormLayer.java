package ai.owl.model;

import ai.owl.checkpoint.TensorRef;
import java.io.Serializable;
import java.util.List;

/**
 * The addresses of one norm's weights; never pruned.
 *
 * @param name full name, such as {@code model.layers.3.input_layernorm}
 * @param width number of features that are normalized together
 * @param gain (width); empty for a norm that has none, which stands for ones
 * @param bias (width); empty for a norm that has none, which stands for zeros
 */
public record NormLayer(String name, int width, List<TensorRef> gain, List<TensorRef> bias)
    implements Serializable {
  public NormLayer {
    gain = List.copyOf(gain);
    bias = List.copyOf(bias);
  }
}
