package ai.owl.pipeline;

import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a pass through the blocks leaves in reliable storage on its way, so that it can be gone on
 * with when its driver is gone: the result of every block, and every few blocks the hidden states
 * of all samples. The newer states take the place of the older.
 *
 * <p>States are complete once their folder has its mark, which the driver writes when all tasks are
 * done. A result is written before the states behind it, so there are never states without the
 * results that led to them.
 */
public final class PassRecord {
  private static final Pattern POSITION = Pattern.compile("before-block-(\\d{5})");
  private static final String BLOCKS = "blocks";
  private static final String COMPLETE = "complete";

  private final Storage storage;
  private final Optional<String> folder;
  private final int interval;
  private final Progress progress;

  private PassRecord(Storage storage, Optional<String> folder, int interval, Progress progress) {
    this.storage = storage;
    this.folder = folder;
    this.interval = interval;
    this.progress = progress;
  }

  /** For a pass that begins from the beginning and leaves nothing. */
  public static PassRecord none(Storage storage) {
    return new PassRecord(storage, Optional.empty(), 0, Progress.NONE);
  }

  /**
   * @param interval hidden states are kept every so many blocks; never if it is 0
   * @param progress is told of what cannot be used
   */
  static PassRecord in(Storage storage, String folder, int interval, Progress progress) {
    return new PassRecord(storage, Optional.of(folder), interval, progress);
  }

  private Optional<KeptResults> results() {
    return folder.map(at -> new KeptResults(storage, Storage.resolve(at, BLOCKS), progress));
  }

  private static String block(int index) {
    return String.format(Locale.ROOT, "block-%05d", index);
  }

  /** Of how many blocks there are results. */
  int count() throws IOException {
    return storage.list(Storage.resolve(folder.orElseThrow(), BLOCKS)).size();
  }

  /** The results of the first blocks: as many as are known without a gap. */
  public <T extends Serializable> List<T> results(Class<T> type) {
    List<T> known = new ArrayList<>();
    while (results().isPresent()) {
      try {
        Optional<T> next = results().get().read(block(known.size()), type);
        if (next.isEmpty()) {
          break;
        }
        known.add(next.get());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return known;
  }

  /** Keeps the result of a block. */
  public void add(int index, Serializable result) {
    if (results().isPresent()) {
      try {
        results().get().write(block(index), result);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /**
   * The last block before which hidden states are kept, but none after {@code most}; 0 if there are
   * none, for the embeddings can always be had.
   */
  public int newest(int most) {
    if (folder.isEmpty()) {
      return 0;
    }
    try {
      int newest = 0;
      for (String name : storage.list(folder.get())) {
        Matcher position = POSITION.matcher(name);
        if (position.matches()
            && storage.exists(Storage.resolve(Storage.resolve(folder.get(), name), COMPLETE))) {
          int block = Integer.parseInt(position.group(1));
          newest = block <= most ? Math.max(newest, block) : newest;
        }
      }
      return newest;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Gives up the hidden states before a block; the results of blocks stay. */
  public void drop(int block) {
    try {
      storage.delete(states(block));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Where the hidden states before a block are kept. */
  public String states(int block) {
    return Storage.resolve(
        folder.orElseThrow(), String.format(Locale.ROOT, "before-block-%05d", block));
  }

  /** Whether the hidden states before a block are to be kept. */
  public boolean isDue(int block, int blocks) {
    return folder.isPresent()
        && interval > 0
        && block > 0
        && block % interval == 0
        && block < blocks;
  }

  /** The states before this block are complete; those before others are not needed any more. */
  public void complete(int block) {
    try {
      storage.writeAll(Storage.resolve(states(block), COMPLETE), new byte[0]);
      for (String name : storage.list(folder.orElseThrow())) {
        String location = Storage.resolve(folder.get(), name);
        if (POSITION.matcher(name).matches() && !location.equals(states(block))) {
          storage.delete(location);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
