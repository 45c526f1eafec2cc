package ai.owl.model;

import ai.owl.checkpoint.TensorRef;
import java.io.Serializable;
import java.util.List;

/**
 * The address of one prunable linear layer.
 *
 * @param name full name, such as {@code model.layers.3.mlp.up_proj}
 * @param path its name in the block, such as {@code mlp.up_proj}
 * @param weight (out_features, in_features)
 * @param bias (out_features) where the layer has one, else empty; never pruned
 */
public record LinearLayer(
    String name, String path, LinearRole role, TensorRef weight, List<TensorRef> bias)
    implements Serializable {
  public LinearLayer {
    bias = List.copyOf(bias);
  }

  public long outFeatures() {
    return weight.shape().get(0);
  }

  public int inFeatures() {
    return Math.toIntExact(weight.shape().get(1));
  }
}
