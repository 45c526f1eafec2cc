package ai.owl.pipeline;

import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.io.Serializable;
import java.nio.file.FileSystemException;
import java.util.List;

/**
 * A shard to be written by whoever gets the task.
 *
 * @param location of the file
 * @param mark of the run that the shard belongs to. It is there as long as the run is: a task that
 *     is still at work when its run has failed, or when another run has taken the folder, must not
 *     publish anything any more.
 */
public record OutputShard(String location, String mark) implements Serializable {
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
