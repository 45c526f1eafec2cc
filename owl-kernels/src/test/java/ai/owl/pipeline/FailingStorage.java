package ai.owl.pipeline;

import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** Another storage, one of whose writes fails. */
final class FailingStorage implements Storage {
  /** Where a write fails. */
  enum Point {
    CREATE,
    WRITE,
    /** On publishing: the file does not appear. */
    CLOSE,
    /** After publishing: the file is there, but nobody is told. */
    CLOSED
  }

  private final Storage storage;
  private final int which;
  private final Point point;

  /** Locations in the order in which their writing began. */
  final List<String> written = new ArrayList<>();

  /**
   * @param which number of the write that fails, from 0; none if negative
   */
  FailingStorage(Storage storage, int which, Point point) {
    this.storage = storage;
    this.which = which;
    this.point = point;
  }

  @Override
  public Reader open(String location) throws IOException {
    return storage.open(location);
  }

  @Override
  public FileStream create(String location) throws IOException {
    boolean fails = written.size() == which;
    written.add(location);
    failIf(fails && point == Point.CREATE, location);
    FileStream out = storage.create(location);
    return new FileStream() {
      @Override
      public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
      }

      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        failIf(fails && point == Point.WRITE, location);
        out.write(bytes, offset, length);
      }

      @Override
      public void close() throws IOException {
        if (fails && point == Point.CLOSE) {
          out.abort();
          throw new IOException("no more room for " + location);
        }
        out.close();
        failIf(fails && point == Point.CLOSED, location);
      }

      @Override
      public void abort() {
        out.abort();
      }
    };
  }

  private static void failIf(boolean fails, String location) throws IOException {
    if (fails) {
      throw new IOException("no more room for " + location);
    }
  }

  @Override
  public List<String> list(String folder) throws IOException {
    return storage.list(folder);
  }

  @Override
  public boolean exists(String location) throws IOException {
    return storage.exists(location);
  }

  @Override
  public boolean isFolder(String location) throws IOException {
    return storage.isFolder(location);
  }

  @Override
  public void delete(String location) throws IOException {
    storage.delete(location);
  }
}
