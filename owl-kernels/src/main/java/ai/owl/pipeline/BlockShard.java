package ai.owl.pipeline;

import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The output shard of one block: its linear layers as they are in memory, everything else of it
 * byte for byte from the input.
 */
public final class BlockShard {
  private BlockShard() {}

  /**
   * Writes the block's tensors in the order and types of the input.
   *
   * @param shard appears whole, or not at all
   */
  public static ShardReceipt write(Storage storage, OutputShard shard, DecoderBlock block)
      throws IOException {
    Map<String, LinearLayer> linears = new HashMap<>();
    block.layout().linears().forEach(linear -> linears.put(linear.weight().name(), linear));
    List<SafetensorsWriter.Entry> entries = new ArrayList<>();
    try (TensorReader reader = new TensorReader(storage)) {
      for (TensorRef tensor : block.layout().tensors()) {
        LinearLayer linear = linears.get(tensor.name());
        entries.add(
            linear == null ? SafetensorsWriter.Entry.copy(tensor, reader) : entry(block, linear));
      }
      return shard.write(storage, entries);
    }
  }

  /** Its weight is made when its turn comes, and gone before the next one's. */
  private static SafetensorsWriter.Entry entry(DecoderBlock block, LinearLayer linear) {
    TensorRef tensor = linear.weight();
    return new SafetensorsWriter.Entry(
        tensor.name(),
        tensor.type(),
        tensor.shape(),
        out -> {
          try (Matrix weight = block.weight(linear)) {
            SafetensorsWriter.Entry.of(tensor.name(), tensor.type(), weight).source().writeTo(out);
          }
        });
  }
}
