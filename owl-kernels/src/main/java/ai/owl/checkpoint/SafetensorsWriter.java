package ai.owl.checkpoint;

import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;

/**
 * Writes safetensors files as a stream: the header first, then tensor after tensor, none of which
 * needs to be in memory. The same entries give the same bytes.
 */
public final class SafetensorsWriter {
  private static final int ALIGNMENT = 8;
  private static final int BUFFER = 1 << 20;

  private SafetensorsWriter() {}

  /** Where the bytes of a tensor come from. */
  @FunctionalInterface
  public interface Source {
    /** Writes the tensor's elements, little-endian and row-major, and nothing else. */
    void writeTo(OutputStream out) throws IOException;
  }

  /**
   * A tensor to be written.
   *
   * @param shape sizes, outermost first
   * @param source writes exactly as many bytes as type and shape need
   */
  public record Entry(String name, DType type, List<Long> shape, Source source) {
    public Entry {
      shape = List.copyOf(shape);
      if (name.equals("__metadata__")) {
        throw new IllegalArgumentException("Cannot write a tensor named __metadata__");
      }
      if (shape.stream().anyMatch(length -> length < 0)) {
        throw new IllegalArgumentException(
            "Cannot write " + name + ": its shape " + shape + " has a negative length");
      }
    }

    /** A tensor that is carried over byte for byte. The reader must stay open until it is. */
    public static Entry copy(TensorRef tensor, TensorReader reader) {
      return new Entry(
          tensor.name(), tensor.type(), tensor.shape(), out -> reader.copy(tensor, out));
    }

    /**
     * A matrix (rows, cols), {@linkplain DType#narrow narrowed} to a computable type. It must stay
     * open, and as it is, until it is written.
     */
    public static Entry of(String name, DType type, Matrix matrix) {
      if (!type.isComputable()) {
        throw new IllegalArgumentException("Cannot write " + name + " as " + type);
      }
      return new Entry(
          name,
          type,
          List.of(matrix.rows(), (long) matrix.cols()),
          out -> {
            float[] row = new float[matrix.cols()];
            byte[] bytes = new byte[Math.multiplyExact(matrix.cols(), type.bytes())];
            for (long r = 0; r < matrix.rows(); r++) {
              matrix.row(r, row);
              type.narrow(row, row.length, bytes, 0);
              out.write(bytes);
            }
          });
    }

    /** Size of the tensor in bytes. */
    public long bytes() {
      long bytes = type.bytes();
      for (long length : shape) {
        bytes = Math.multiplyExact(bytes, length);
      }
      return bytes;
    }
  }

  /**
   * Writes a file with these tensors, in this order. It appears whole, or, if this method throws,
   * not at all.
   *
   * @throws IllegalStateException if a source wrote more or fewer bytes than its tensor has
   */
  public static ShardReceipt write(Storage storage, String location, List<Entry> entries)
      throws IOException {
    return write(storage, location, entries, () -> {});
  }

  /** Is asked before a file is published; what it throws prevents that. */
  @FunctionalInterface
  public interface Consent {
    void require() throws IOException;
  }

  /** Like {@link #write(Storage, String, List)}, but published only with somebody's consent. */
  public static ShardReceipt write(
      Storage storage, String location, List<Entry> entries, Consent consent) throws IOException {
    byte[] header = header(location, entries);
    MessageDigest digest = sha256();
    Storage.FileStream file = storage.create(location);
    long bytes;
    try {
      CountingStream out = new CountingStream(new BufferedOutputStream(file, BUFFER), digest);
      out.limit = header.length;
      out.write(header);
      for (Entry entry : entries) {
        long begin = out.count;
        out.subject = entry.name;
        out.limit = begin + entry.bytes();
        entry.source.writeTo(out);
        if (out.count != out.limit) {
          throw new IllegalStateException(
              "Cannot write "
                  + entry.name
                  + " to "
                  + location
                  + ": its source wrote "
                  + (out.count - begin)
                  + " bytes, expected "
                  + entry.bytes());
        }
      }
      out.finish();
      bytes = out.count;
      consent.require();
    } catch (Throwable e) {
      file.abort();
      throw e;
    }
    file.close();
    return new ShardReceipt(
        Storage.name(location),
        bytes,
        HexFormat.of().formatHex(digest.digest()),
        entries.stream().map(Entry::name).toList(),
        bytes - header.length);
  }

  /** Length and JSON, padded with spaces so that the data begins at a multiple of 8 bytes. */
  private static byte[] header(String location, List<Entry> entries) throws IOException {
    Set<String> names = new HashSet<>();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(256 + 128 * entries.size());
    bytes.write(new byte[Long.BYTES]);
    try (JsonGenerator json = new JsonFactory().createGenerator(bytes)) {
      json.writeStartObject();
      json.writeObjectFieldStart("__metadata__");
      // transformers refuses a file that does not say this.
      json.writeStringField("format", "pt");
      json.writeEndObject();
      long offset = 0;
      for (Entry entry : entries) {
        if (!names.add(entry.name)) {
          throw new IllegalArgumentException(
              "Cannot write " + location + ": it would have " + entry.name + " twice");
        }
        json.writeObjectFieldStart(entry.name);
        json.writeStringField("dtype", entry.type.name());
        writeNumbers(json, "shape", entry.shape);
        long end = Math.addExact(offset, entry.bytes());
        writeNumbers(json, "data_offsets", List.of(offset, end));
        json.writeEndObject();
        offset = end;
      }
      json.writeEndObject();
    }
    int end = bytes.size();
    int padded = Math.multiplyExact((end + ALIGNMENT - 1) / ALIGNMENT, ALIGNMENT);
    if (padded - Long.BYTES > SafetensorsFile.MAX_HEADER) {
      throw new IllegalArgumentException(
          "Cannot write " + location + ": " + entries.size() + " tensors need too long a header");
    }
    byte[] header = Arrays.copyOf(bytes.toByteArray(), padded);
    Arrays.fill(header, end, padded, (byte) ' ');
    ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).putLong(padded - Long.BYTES);
    return header;
  }

  private static void writeNumbers(JsonGenerator json, String field, List<Long> numbers)
      throws IOException {
    json.writeArrayFieldStart(field);
    for (long number : numbers) {
      json.writeNumber(number);
    }
    json.writeEndArray();
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  /** Counts and digests what goes by; stops a source at the end of its tensor. Never closed. */
  private static final class CountingStream extends OutputStream {
    private final OutputStream out;
    private final MessageDigest digest;
    private String subject = "the header";
    private long count;
    private long limit;

    CountingStream(OutputStream out, MessageDigest digest) {
      this.out = out;
      this.digest = digest;
    }

    @Override
    public void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      if (length > limit - count) {
        throw new IllegalStateException(
            "Cannot write " + subject + ": its source wrote more bytes than it has");
      }
      digest.update(bytes, offset, length);
      out.write(bytes, offset, length);
      count += length;
    }

    void finish() throws IOException {
      out.flush();
    }
  }
}
