package ai.owl.pipeline;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputFilter;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.Serializable;
import java.util.Optional;

/**
 * Results that are kept in a folder, so that what took long is not found out twice. A name must say
 * all that its result depends on.
 *
 * @param folder of the results; made with the first
 * @param progress is told of what cannot be used
 */
public record KeptResults(Storage storage, String folder, Progress progress) {
  private static final int LARGEST = 1 << 30;

  /** A folder that others can write to must not be a way to run their code here. */
  private static final ObjectInputFilter RESULTS_ONLY =
      ObjectInputFilter.Config.createFilter("maxdepth=100;ai.owl.**;java.lang.*;java.util.*;!*");

  /**
   * A result that was kept.
   *
   * @return nothing if there is none, or none that this version of the program can use; then it is
   *     found out anew, which {@code progress} is told
   */
  public <T extends Serializable> Optional<T> read(String name, Class<T> type) throws IOException {
    String location = Storage.resolve(folder, name);
    if (storage.isFolder(location)) {
      storage.delete(location); // it would stand in the way of the new one
      return dropped(location);
    }
    if (!storage.exists(location)) {
      return Optional.empty();
    }
    byte[] bytes;
    try {
      bytes = storage.readAll(location, LARGEST);
    } catch (MalformedCheckpointException tooLarge) {
      return dropped(location);
    }
    try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes))) {
      // Elements take a byte each or more: a longer array is a damaged length, not a result.
      in.setObjectInputFilter(
          read ->
              read.arrayLength() > bytes.length
                  ? ObjectInputFilter.Status.REJECTED
                  : RESULTS_ONLY.checkInput(read));
      return Optional.of(type.cast(in.readObject()));
    } catch (IOException | ClassNotFoundException | RuntimeException | LinkageError unusable) {
      return dropped(location); // of another version of this program, cut off, or damaged
    }
  }

  private <T> Optional<T> dropped(String location) {
    progress.warn(location + " cannot be used: what it held is found out anew");
    return Optional.empty();
  }

  boolean contains(String name) throws IOException {
    return storage.exists(Storage.resolve(folder, name));
  }

  /** Keeps a result. */
  public void write(String name, Serializable result) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(result);
    }
    storage.writeAll(Storage.resolve(folder, name), bytes.toByteArray());
  }

  /** Something that takes long. */
  @FunctionalInterface
  public interface Work<T> {
    T carryOut() throws IOException;
  }

  /** The kept result, or what the work gives, which is kept then. */
  public <T extends Serializable> T get(String name, Class<T> type, Work<T> work)
      throws IOException {
    Optional<T> known = read(name, type);
    if (known.isPresent()) {
      return known.get();
    }
    T result = work.carryOut();
    write(name, result);
    return result;
  }
}
