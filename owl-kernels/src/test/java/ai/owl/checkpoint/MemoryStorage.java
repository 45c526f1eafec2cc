package ai.owl.checkpoint;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ConcurrentSkipListMap;

/** Files in memory; remembers what was read of them. */
public final class MemoryStorage implements Storage {
  record Read(String location, long position, int length) {}

  public final ConcurrentSkipListMap<String, byte[]> files = new ConcurrentSkipListMap<>();
  final List<Read> reads = new ArrayList<>();
  int opened;
  int closed;

  /** Writing fails once a file has so many bytes. */
  long capacity = Long.MAX_VALUE;

  /** A safetensors file of these parts; the length before the header is the header's own. */
  static byte[] safetensors(String header, int dataBytes) {
    return safetensors(header, new byte[dataBytes]);
  }

  static byte[] safetensors(String header, byte[] data) {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    return safetensors(json.length, json, data);
  }

  static byte[] safetensors(long claimedLength, byte[] header, byte[] data) {
    return ByteBuffer.allocate(8 + header.length + data.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(claimedLength)
        .put(header)
        .put(data)
        .array();
  }

  @Override
  public Reader open(String location) throws IOException {
    byte[] content = files.get(location);
    if (content == null) {
      throw new FileNotFoundException(location + ": it does not exist");
    }
    opened++;
    return new Reader() {
      @Override
      public long size() {
        return content.length;
      }

      @Override
      public void read(long position, byte[] target, int offset, int length) throws IOException {
        reads.add(new Read(location, position, length));
        byte[] now = files.get(location);
        if (position + length > now.length) {
          throw new EOFException(location + " ends before byte " + (position + length));
        }
        System.arraycopy(now, (int) position, target, offset, length);
      }

      @Override
      public void close() {
        closed++;
      }
    };
  }

  @Override
  public FileStream create(String location) {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    return new FileStream() {
      private boolean ended;

      @Override
      public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
      }

      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        if (content.size() + (long) length > capacity) {
          throw new IOException("no space left for " + location);
        }
        content.write(bytes, offset, length);
      }

      @Override
      public void close() {
        if (!ended) {
          files.put(location, content.toByteArray());
        }
        ended = true;
      }

      @Override
      public void abort() {
        ended = true;
      }
    };
  }

  @Override
  public List<String> list(String folder) {
    String prefix = folder + "/";
    return files.keySet().stream()
        .filter(location -> location.startsWith(prefix))
        .map(location -> location.substring(prefix.length()).split("/")[0])
        .distinct()
        .toList();
  }

  @Override
  public boolean exists(String location) {
    return files.containsKey(location) || isFolder(location);
  }

  @Override
  public boolean isFolder(String location) {
    return files.keySet().stream().anyMatch(file -> file.startsWith(location + "/"));
  }

  @Override
  public void delete(String location) {
    files.keySet().removeIf(file -> file.equals(location) || file.startsWith(location + "/"));
  }

  void cut(String location, int bytes) {
    files.computeIfPresent(
        location, (name, content) -> Arrays.copyOf(content, content.length - bytes));
  }
}
