package ai.owl.pipeline;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A shard of the output that is written. Whoever wrote it leaves this beside it at once, so that it
 * is not written again if the driver is gone by then.
 *
 * @param receipt of the file
 * @param linears what became of the block's linear layers, in the layout's order; none for tensors
 *     of no block
 */
public record FinishedShard(ShardReceipt receipt, List<PrunedLinear> linears)
    implements Serializable {
  private static final int LARGEST = 64 << 20;

  public FinishedShard {
    linears = List.copyOf(linears);
  }

  /** Leaves the record of a shard that has just been published. */
  static FinishedShard leave(Storage storage, String location, FinishedShard shard)
      throws IOException {
    storage.writeAll(
        location, (shard.toJson().toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
    return shard;
  }

  /**
   * The record of a shard.
   *
   * @return nothing if there is none, if it cannot be read, or if the shard has another size now
   */
  static Optional<FinishedShard> read(Storage storage, String location, String shard)
      throws IOException {
    if (storage.isFolder(location)) {
      storage.delete(location); // it would stand in the way of the record
    }
    if (!storage.exists(location) || !storage.exists(shard) || storage.isFolder(shard)) {
      return Optional.empty();
    }
    FinishedShard finished;
    try {
      finished = of(new JsonMapper().readTree(storage.readAll(location, LARGEST)));
    } catch (JsonProcessingException | MalformedCheckpointException cutOff) {
      return Optional.empty();
    }
    try (Storage.Reader file = storage.open(shard)) {
      return Optional.of(finished).filter(known -> known.receipt().bytes() == file.size());
    }
  }

  private ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("file", receipt.file());
    json.put("bytes", receipt.bytes());
    json.put("sha256", receipt.sha256());
    json.put("dataBytes", receipt.dataBytes());
    ArrayNode tensors = json.putArray("tensors");
    receipt.tensors().forEach(tensors::add);
    ArrayNode pruned = json.putArray("linears");
    for (PrunedLinear linear : linears) {
      ObjectNode entry = pruned.addObject();
      entry.put("name", linear.name());
      entry.put("sparsity", linear.sparsity());
      entry.put("weights", linear.weights());
      entry.put("zeros", linear.zeros());
      ArrayNode notes = entry.putArray("notes");
      linear.notes().forEach(notes::add);
    }
    return json;
  }

  private static FinishedShard of(JsonNode json) {
    List<PrunedLinear> linears = new ArrayList<>();
    for (JsonNode linear : json.path("linears")) {
      linears.add(
          new PrunedLinear(
              linear.path("name").asText(),
              linear.path("sparsity").asDouble(),
              linear.path("weights").asLong(),
              linear.path("zeros").asLong(),
              texts(linear.path("notes"))));
    }
    return new FinishedShard(
        new ShardReceipt(
            json.path("file").asText(),
            json.path("bytes").asLong(),
            json.path("sha256").asText(),
            texts(json.path("tensors")),
            json.path("dataBytes").asLong()),
        linears);
  }

  private static List<String> texts(JsonNode array) {
    List<String> texts = new ArrayList<>();
    array.forEach(text -> texts.add(text.asText()));
    return texts;
  }
}
