package ai.owl.calibration;

import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.io.InputStream;
import java.util.Objects;

/** A file of a {@link Storage} from its first byte to its last, fetched 1 MiB at a time. */
final class StorageInputStream extends InputStream {
  private static final int CHUNK = 1 << 20;

  private final Storage.Reader reader;
  private final byte[] chunk;
  private long fetched; // bytes of the file that went through the chunk, those in it included
  private int next;
  private int filled;

  StorageInputStream(Storage.Reader reader) {
    this.reader = reader;
    this.chunk = new byte[(int) Math.min(CHUNK, Math.max(1, reader.size()))];
  }

  @Override
  public int read() throws IOException {
    return fill() ? chunk[next++] & 0xff : -1;
  }

  @Override
  public int read(byte[] target, int offset, int length) throws IOException {
    Objects.checkFromIndexSize(offset, length, target.length);
    if (length == 0) {
      return 0;
    }
    if (!fill()) {
      return -1;
    }
    int count = Math.min(length, filled - next);
    System.arraycopy(chunk, next, target, offset, count);
    next += count;
    return count;
  }

  /** GZIPInputStream asks this to learn whether another gzip member follows. */
  @Override
  public int available() {
    return (int) Math.min(Integer.MAX_VALUE, reader.size() - fetched + filled - next);
  }

  @Override
  public void close() throws IOException {
    reader.close();
  }

  private boolean fill() throws IOException {
    if (next < filled) {
      return true;
    }
    int count = (int) Math.min(chunk.length, reader.size() - fetched);
    if (count <= 0) {
      return false;
    }
    reader.read(fetched, chunk, 0, count);
    fetched += count;
    next = 0;
    filled = count;
    return true;
  }
}
