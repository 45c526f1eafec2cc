package ai.owl.spark.pipeline;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;

/**
 * Local files, of which some fail the first time: they break off half way through being written, or
 * cannot be opened.
 */
final class FailingOnceStorage implements Storage {
  private static final long serialVersionUID = 1;
  private static final Set<String> FAILED = ConcurrentHashMap.newKeySet();

  private final LocalStorage files = new LocalStorage();
  private final Pattern writing;
  private final String reading;

  /**
   * @param writing what is found in the names of the files that fail while they are written
   * @param reading part of the names of the files that fail once when they are opened
   */
  FailingOnceStorage(String writing, String reading) {
    this.writing = Pattern.compile(writing);
    this.reading = reading;
    FAILED.clear();
  }

  static int failures() {
    return FAILED.size();
  }

  @Override
  public Reader open(String location) throws IOException {
    Reader reader = files.open(location);
    boolean onExecutor = org.apache.spark.TaskContext.get() != null;
    if (onExecutor && location.contains(reading) && FAILED.add("read " + location)) {
      reader.close();
      throw new IOException("the disk of " + location + " is away for a moment");
    }
    return reader;
  }

  @Override
  public FileStream create(String location) throws IOException {
    FileStream stream = files.create(location);
    if (!writing.matcher(location).find() || !FAILED.add("write " + location)) {
      return stream;
    }
    return new FileStream() {
      private int left = 1000;

      @Override
      public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
      }

      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        left -= length;
        if (left < 0) {
          throw new IOException("the disk is full while " + location + " is written");
        }
        stream.write(bytes, offset, length);
      }

      @Override
      public void close() throws IOException {
        stream.close();
      }

      @Override
      public void abort() {
        stream.abort();
      }
    };
  }

  @Override
  public String stamp(String location) throws IOException {
    return files.stamp(location);
  }

  @Override
  public List<String> list(String folder) throws IOException {
    return files.list(folder);
  }

  @Override
  public boolean exists(String location) throws IOException {
    return files.exists(location);
  }

  @Override
  public boolean isFolder(String location) throws IOException {
    return files.isFolder(location);
  }

  @Override
  public void delete(String location) throws IOException {
    files.delete(location);
  }
}
