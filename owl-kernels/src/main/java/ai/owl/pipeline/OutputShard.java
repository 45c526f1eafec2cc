package ai.owl.pipeline;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.SafetensorsFile;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.LinearLayer;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.io.Serializable;
import java.nio.file.FileSystemException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A shard to be written by whoever gets the task.
 *
 * @param location of the file
 * @param record where whoever has written it leaves its {@link FinishedShard}
 * @param mark of the run that the shard belongs to. It is there as long as the run is: a task that
 *     is still at work when its run has failed, or when another run has taken the folder, must not
 *     publish anything any more.
 */
public record OutputShard(String location, String record, String mark) implements Serializable {
  /** One of a file that nobody will want to know of once its run is over. */
  public OutputShard(String location, String mark) {
    this(location, "", mark);
  }

  /** Says that the shard is written, to whoever goes on with the run if it is broken off. */
  public FinishedShard finish(Storage storage, ShardReceipt receipt, List<PrunedLinear> linears)
      throws IOException {
    return FinishedShard.leave(storage, record, new FinishedShard(receipt, linears));
  }

  /** Copies tensors byte for byte into the shard, wherever they stand now. */
  public ShardReceipt copy(Storage storage, List<TensorRef> tensors) throws IOException {
    try (TensorReader reader = new TensorReader(storage)) {
      List<SafetensorsWriter.Entry> entries = new ArrayList<>();
      for (TensorRef tensor : tensors) {
        entries.add(SafetensorsWriter.Entry.copy(tensor, reader));
      }
      return write(storage, entries);
    }
  }

  /**
   * Writes the weights of a linear layer, in the type that they have in the input.
   *
   * @return where they stand now
   */
  public TensorRef writeWeights(Storage storage, LinearLayer linear, Matrix weights)
      throws IOException {
    TensorRef before = linear.weight();
    write(storage, List.of(SafetensorsWriter.Entry.of(before.name(), before.type(), weights)));
    return SafetensorsFile.open(storage, location).tensors().get(0);
  }

  /**
   * Where the weights of a linear layer stand that an earlier run has written there, if it has.
   *
   * @throws MalformedCheckpointException if what is there is damaged, or something else
   */
  public Optional<TensorRef> written(Storage storage, LinearLayer linear) throws IOException {
    if (!storage.exists(location)) {
      return Optional.empty();
    }
    List<TensorRef> tensors = SafetensorsFile.open(storage, location).tensors();
    if (tensors.size() != 1
        || tensors.get(0).type() != linear.weight().type()
        || !tensors.get(0).shape().equals(linear.weight().shape())) {
      throw new MalformedCheckpointException(
          "Cannot use " + location + ": it does not hold the weights of " + linear.name());
    }
    return Optional.of(tensors.get(0));
  }

  /** Writes the shard; it appears whole, or not at all. */
  ShardReceipt write(Storage storage, List<SafetensorsWriter.Entry> entries) throws IOException {
    return SafetensorsWriter.write(
        storage,
        location,
        entries,
        () -> {
          if (!storage.exists(mark)) {
            throw new FileSystemException(location, null, "the run it belongs to is over");
          }
        });
  }
}
