package ai.owl.checkpoint;

import java.io.Serializable;
import java.util.List;

/**
 * What is left in hand after a safetensors file was written: enough to name it in an index and to
 * find out later whether it is still the same.
 *
 * @param file name of the file in its folder, not its location
 * @param bytes size of the file
 * @param sha256 digest of the file, in hexadecimal
 * @param tensors names of its tensors, in order of position
 * @param dataBytes size of the tensors alone, without the header
 */
public record ShardReceipt(
    String file, long bytes, String sha256, List<String> tensors, long dataBytes)
    implements Serializable {
  public ShardReceipt {
    tensors = List.copyOf(tensors);
  }
}
