package ai.owl.spark.storage;

import ai.owl.calibration.DocumentSource;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.List;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName;
import org.apache.parquet.schema.Type;

/**
 * The column {@code text} of a Parquet file, or of a folder of them, in the order of its rows. Read
 * in this process, one row after the other: what follows is a tokenizer, which is no faster.
 */
record ParquetDocuments(Configuration hadoop, Storage storage, String location)
    implements DocumentSource {
  private static final String TEXT = "text";

  @Override
  public void forEach(Consumer<String> documents) throws IOException {
    if (!storage.exists(location)) {
      throw new FileNotFoundException(location + ": it does not exist");
    }
    if (!storage.isFolder(location)) {
      readFile(location, documents);
      return;
    }
    List<String> parts =
        storage.list(location).stream()
            .filter(name -> !name.startsWith("_") && !name.startsWith("."))
            .toList();
    for (String part : parts) {
      readFile(Storage.resolve(location, part), documents);
    }
  }

  private void readFile(String file, Consumer<String> documents) throws IOException {
    Configuration settings = new Configuration(hadoop);
    try {
      settings.set(ReadSupport.PARQUET_READ_SCHEMA, textOnly(file).toString());
      try (ParquetReader<Group> rows =
          ParquetReader.builder(new GroupReadSupport(), new Path(file))
              .withConf(settings)
              .build()) {
        long number = 0;
        for (Group row = rows.read(); row != null; row = rows.read()) {
          if (row.getFieldRepetitionCount(TEXT) != 1) {
            throw new MalformedCheckpointException(
                "Cannot read " + file + ": text is null in row " + number);
          }
          documents.accept(row.getString(TEXT, 0));
          number++;
        }
      }
    } catch (MalformedCheckpointException | IOException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new MalformedCheckpointException(
          "Cannot read " + file + " as Parquet: " + e.getMessage(), e);
    }
  }

  /** The file's schema, of which only the text is read. */
  private MessageType textOnly(String file) throws IOException {
    try (ParquetFileReader reader =
        ParquetFileReader.open(HadoopInputFile.fromPath(new Path(file), hadoop))) {
      MessageType schema = reader.getFileMetaData().getSchema();
      if (schema.containsField(TEXT)) {
        Type type = schema.getType(TEXT);
        if (type.isPrimitive()
            && type.asPrimitiveType().getPrimitiveTypeName() == PrimitiveTypeName.BINARY
            && type.getRepetition() != Type.Repetition.REPEATED) {
          return new MessageType(schema.getName(), type);
        }
      }
      throw new MalformedCheckpointException(
          "Cannot read "
              + file
              + ": it has no column text of strings, but "
              + schema.getFields().stream().map(Type::getName).toList());
    }
  }
}
