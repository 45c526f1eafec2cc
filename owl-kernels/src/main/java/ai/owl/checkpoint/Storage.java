package ai.owl.checkpoint;

import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.util.List;

/**
 * Where checkpoints lie: a small view of a file system, enough to read ranges, to list a folder,
 * and to write a file that appears whole or not at all. Implementations are serializable, because
 * tasks on other machines open their own files.
 *
 * <p>A location is a URI or, for local files, a path. Failures of the world are {@link
 * IOException}s that name the location.
 */
public interface Storage extends Serializable {

  /** A file that is read at given positions. One reader may be used by several threads at once. */
  interface Reader extends Closeable {
    /** Size of the file in bytes. */
    long size();

    /**
     * Reads exactly {@code length} bytes from {@code position} on.
     *
     * @throws java.io.EOFException if the file ends before that
     */
    void read(long position, byte[] target, int offset, int length) throws IOException;
  }

  /**
   * Opens a file for reading.
   *
   * @throws java.io.FileNotFoundException if there is none
   */
  Reader open(String location) throws IOException;

  /**
   * Creates a file that takes the place of whatever has its name, once its stream is closed; before
   * that, and if the stream is {@linkplain FileStream#abort aborted}, a reader sees nothing of it.
   */
  FileStream create(String location) throws IOException;

  /**
   * Names (not locations) of what a folder directly contains, sorted; empty if the folder does not
   * exist.
   */
  List<String> list(String folder) throws IOException;

  /** Whether a file, or a folder with something in it, is there. */
  boolean exists(String location) throws IOException;

  /** Whether the location is a folder. */
  boolean isFolder(String location) throws IOException;

  /** Removes a file, or a folder with all it contains; does nothing if it is not there. */
  void delete(String location) throws IOException;

  /**
   * Writes a whole small file unless there is one of that name. Local file systems, HDFS and S3 let
   * exactly one of several writers have it; an object store that knows no conditional writes may
   * let two that come at the same moment believe so.
   *
   * @param content what no other writer would write: by it a write whose answer was lost is known
   * @return whether it was written
   */
  default boolean writeNew(String location, byte[] content) throws IOException {
    if (exists(location)) {
      return false;
    }
    writeAll(location, content);
    return true;
  }

  /**
   * Removes what writers that were killed have left of files in a folder, as far as it can be told
   * from files. Whoever still writes there fails.
   */
  default void deleteUnfinished(String folder) throws IOException {}

  /**
   * One spelling for all locations of a file or folder, whether it is there or not: absolute,
   * without links where there are such.
   */
  default String canonical(String location) throws IOException {
    return location.replaceFirst("^file:(//)?", "").replaceAll("/+$", "");
  }

  /**
   * Changes whenever a file is written: its length and the time of its last change.
   *
   * @return the same for every state of the file if the storage knows no such time
   * @throws java.io.FileNotFoundException if there is no such file
   */
  default String stamp(String location) throws IOException {
    return "";
  }

  /** An output stream whose {@code close} publishes the file and whose {@code abort} forgets it. */
  abstract class FileStream extends OutputStream {
    /** Gives up the file: nothing of what was written will ever be visible. */
    public abstract void abort();
  }

  /** The location of {@code name} in {@code folder}. */
  static String resolve(String folder, String name) {
    return folder.endsWith("/") ? folder + name : folder + "/" + name;
  }

  /** The last part of a location. */
  static String name(String location) {
    String trimmed =
        location.endsWith("/") ? location.substring(0, location.length() - 1) : location;
    return trimmed.substring(trimmed.lastIndexOf('/') + 1);
  }

  /** Reads a whole small file. */
  default byte[] readAll(String location, int limit) throws IOException {
    try (Reader reader = open(location)) {
      if (reader.size() > limit) {
        throw new MalformedCheckpointException(
            "Cannot read "
                + location
                + ": it has "
                + reader.size()
                + " bytes, more than the "
                + limit
                + " such a file may have");
      }
      byte[] all = new byte[(int) reader.size()];
      reader.read(0, all, 0, all.length);
      return all;
    }
  }

  /** Writes a whole small file. */
  default void writeAll(String location, byte[] content) throws IOException {
    FileStream out = create(location);
    try {
      out.write(content);
    } catch (IOException | RuntimeException e) {
      out.abort();
      throw e;
    }
    out.close();
  }
}
