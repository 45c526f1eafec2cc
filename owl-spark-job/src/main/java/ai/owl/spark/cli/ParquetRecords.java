package ai.owl.spark.cli;

import ai.owl.calibration.RecordSource;
import ai.owl.checkpoint.MalformedCheckpointException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.EOFException;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.Type;

/** The rows of a Parquet file, with groups as objects and lists as arrays. */
record ParquetRecords(Configuration hadoop, String location) implements RecordSource {
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  @Override
  public void forEach(RecordConsumer records) throws IOException {
    try (ParquetReader<Group> rows =
        ParquetReader.builder(new GroupReadSupport(), new Path(location))
            .withConf(hadoop)
            .build()) {
      long number = 0;
      for (ObjectNode row = next(rows); row != null; row = next(rows)) {
        records.accept("row " + number++, row);
      }
    }
  }

  /**
   * The library tells of a damaged file by exceptions of many kinds; what is done with a row, not.
   */
  private ObjectNode next(ParquetReader<Group> rows) throws IOException {
    try {
      Group row = rows.read();
      return row == null ? null : object(row);
    } catch (EOFException e) {
      throw damaged("it ends too early", e);
    } catch (IOException e) {
      // Headers are decoded from memory, so that failing at that is not the storage's failure.
      Throwable cause = e.getCause();
      if (cause != null && cause.getClass().getName().contains(".thrift.")) {
        throw damaged(e.getMessage(), e);
      }
      throw e;
    } catch (RuntimeException e) {
      throw damaged(e.getMessage(), e);
    }
  }

  private MalformedCheckpointException damaged(String what, Exception cause) {
    return new MalformedCheckpointException(
        "Cannot read "
            + location
            + " as Parquet: "
            + String.valueOf(what).lines().findFirst().orElse("").replaceFirst(" Struct: .*", ""),
        cause);
  }

  private static ObjectNode object(Group group) {
    ObjectNode object = JSON.objectNode();
    for (Type type : group.getType().getFields()) {
      object.set(type.getName(), field(group, type));
    }
    return object;
  }

  private static JsonNode field(Group group, Type type) {
    int count = group.getFieldRepetitionCount(type.getName());
    if (type.getRepetition() == Type.Repetition.REPEATED) {
      ArrayNode all = JSON.arrayNode();
      for (int i = 0; i < count; i++) {
        all.add(value(group, type, i));
      }
      return all;
    }
    return count == 0 ? JSON.nullNode() : value(group, type, 0);
  }

  private static JsonNode value(Group group, Type type, int at) {
    String name = type.getName();
    if (!type.isPrimitive()) {
      Group inner = group.getGroup(name, at);
      return type.getLogicalTypeAnnotation()
              instanceof LogicalTypeAnnotation.ListLogicalTypeAnnotation
          ? list(inner)
          : object(inner);
    }
    return switch (type.asPrimitiveType().getPrimitiveTypeName()) {
      case BOOLEAN -> JSON.booleanNode(group.getBoolean(name, at));
      case INT32 -> JSON.numberNode(group.getInteger(name, at));
      case INT64 -> JSON.numberNode(group.getLong(name, at));
      case FLOAT -> JSON.numberNode(group.getFloat(name, at));
      case DOUBLE -> JSON.numberNode(group.getDouble(name, at));
      default -> JSON.textNode(group.getString(name, at));
    };
  }

  /**
   * A list is a group of a repeated group of one field each, or, as older writers put it, of it.
   */
  private static ArrayNode list(Group list) {
    ArrayNode all = JSON.arrayNode();
    Type repeated = list.getType().getFields().get(0);
    for (int i = 0; i < list.getFieldRepetitionCount(0); i++) {
      if (repeated.isPrimitive()) {
        all.add(value(list, repeated, i));
      } else {
        Group entry = list.getGroup(0, i);
        all.add(
            repeated.asGroupType().getFieldCount() == 1
                ? field(entry, repeated.asGroupType().getType(0))
                : object(entry));
      }
    }
    return all;
  }
}
