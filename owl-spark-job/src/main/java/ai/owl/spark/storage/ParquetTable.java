package ai.owl.spark.storage;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.DelegatingSeekableInputStream;
import org.apache.parquet.io.InputFile;
import org.apache.parquet.io.OutputFile;
import org.apache.parquet.io.PositionOutputStream;
import org.apache.parquet.io.SeekableInputStream;
import org.apache.parquet.schema.MessageType;

/**
 * Small tables as Parquet files that are written and read whole, through {@link Storage}: Parquet's
 * own way to files leaves check sums beside them, and shows what is half written.
 */
public final class ParquetTable {
  private static final int MAX_BYTES = 1 << 30;

  private ParquetTable() {}

  /** The rows as the content of a file. */
  public static byte[] bytes(MessageType schema, List<Group> rows) throws IOException {
    Written file = new Written();
    try (ParquetWriter<Group> writer =
        ExampleParquetWriter.builder(file)
            .withConf(new Configuration(false))
            .withType(schema)
            .withCompressionCodec(CompressionCodecName.UNCOMPRESSED)
            .build()) {
      for (Group row : rows) {
        writer.write(row);
      }
    }
    return file.bytes.toByteArray();
  }

  /**
   * All rows of a file.
   *
   * @throws MalformedCheckpointException if it is no Parquet file with this schema
   */
  public static List<Group> read(Storage storage, String location, MessageType schema)
      throws IOException {
    byte[] content = storage.readAll(location, MAX_BYTES);
    try (ParquetFileReader file = ParquetFileReader.open(new Kept(location, content))) {
      MessageType found = file.getFileMetaData().getSchema();
      if (!found.equals(schema)) {
        throw new MalformedCheckpointException(
            "Cannot read " + location + ": its columns are " + found.getPaths().size() + " others");
      }
      List<Group> rows = new ArrayList<>();
      try (ParquetReader<Group> reader = new Reader(new Kept(location, content)).build()) {
        for (Group row = reader.read(); row != null; row = reader.read()) {
          rows.add(row);
        }
      }
      return rows;
    } catch (MalformedCheckpointException e) {
      throw e;
    } catch (RuntimeException | EOFException e) {
      throw new MalformedCheckpointException(
          "Cannot read " + location + " as Parquet: " + e.getMessage(), e);
    }
  }

  private static final class Reader extends ParquetReader.Builder<Group> {
    Reader(InputFile file) {
      super(file);
    }

    @Override
    protected ReadSupport<Group> getReadSupport() {
      return new GroupReadSupport();
    }
  }

  private record Kept(String location, byte[] content) implements InputFile {
    /** The name that Parquet's messages give it. */
    @Override
    public String toString() {
      return location;
    }

    @Override
    public long getLength() {
      return content.length;
    }

    @Override
    public SeekableInputStream newStream() {
      return new Stream(new Bytes(content));
    }
  }

  private static final class Bytes extends ByteArrayInputStream {
    Bytes(byte[] content) {
      super(content);
    }

    int position() {
      return pos;
    }

    void seek(long position) {
      pos = (int) Math.min(count, position);
    }
  }

  private static final class Stream extends DelegatingSeekableInputStream {
    private final Bytes bytes;

    Stream(Bytes bytes) {
      super(bytes);
      this.bytes = bytes;
    }

    @Override
    public long getPos() {
      return bytes.position();
    }

    @Override
    public void seek(long position) {
      bytes.seek(position);
    }
  }

  private static final class Written implements OutputFile {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    @Override
    public PositionOutputStream create(long blockSize) {
      return new PositionOutputStream() {
        @Override
        public long getPos() {
          return bytes.size();
        }

        @Override
        public void write(int b) {
          bytes.write(b);
        }

        @Override
        public void write(byte[] from, int offset, int length) {
          bytes.write(from, offset, length);
        }
      };
    }

    @Override
    public PositionOutputStream createOrOverwrite(long blockSize) {
      return create(blockSize);
    }

    @Override
    public boolean supportsBlockSize() {
      return false;
    }

    @Override
    public long defaultBlockSize() {
      return 0;
    }
  }
}
