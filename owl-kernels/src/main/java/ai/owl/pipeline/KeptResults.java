package ai.owl.pipeline;

import ai.owl.checkpoint.Storage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.ObjectInputFilter;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.ObjectStreamException;
import java.io.Serializable;
import java.util.Optional;

/**
 * Results that are kept in a folder, so that what took long is not found out twice. A name must say
 * all that its result depends on.
 *
 * @param folder of the results; made with the first
 */
public record KeptResults(Storage storage, String folder) implements Serializable {
  private static final int LARGEST = 1 << 30;

  /** A folder that others can write to must not be a way to run their code here. */
  private static final ObjectInputFilter RESULTS_ONLY =
      ObjectInputFilter.Config.createFilter("ai.owl.**;java.lang.*;java.util.*;!*");

  /**
   * A result that was kept.
   *
   * @return nothing if there is none, or none that this version of the program can use
   */
  public <T extends Serializable> Optional<T> read(String name, Class<T> type) throws IOException {
    String location = Storage.resolve(folder, name);
    if (!storage.exists(location)) {
      return Optional.empty();
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(storage.readAll(location, LARGEST)))) {
      in.setObjectInputFilter(RESULTS_ONLY);
      return Optional.of(type.cast(in.readObject()));
    } catch (ObjectStreamException
        | EOFException
        | ClassNotFoundException
        | ClassCastException unusable) {
      return Optional.empty(); // of another version of this program, or cut off: found out anew
    }
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
