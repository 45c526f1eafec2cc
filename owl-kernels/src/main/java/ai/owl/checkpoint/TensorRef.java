package ai.owl.checkpoint;

import ai.owl.tensor.DType;
import java.io.Serializable;
import java.util.List;

/**
 * The address of a tensor: which file, where in it, of what type and shape. Addresses are what
 * travels between machines; the bytes go from storage to whoever computes with them.
 *
 * @param name the tensor's name in the checkpoint, such as {@code
 *     model.layers.3.mlp.up_proj.weight}
 * @param file location of the safetensors file
 * @param shape sizes, outermost first; for a linear layer [out_features, in_features]
 * @param position byte position in the file of the first element
 * @param bytes length in bytes, which equals the product of the shape times the size of an element
 */
public record TensorRef(
    String name, String file, DType type, List<Long> shape, long position, long bytes)
    implements Serializable {
  public TensorRef {
    shape = List.copyOf(shape);
  }

  /** Number of elements. */
  public long elements() {
    return bytes / type.bytes();
  }
}
