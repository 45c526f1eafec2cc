package ai.owl.spark.ml;

import ai.owl.calibration.DocumentSource;
import ai.owl.calibration.TextDocuments;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.function.Consumer;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/** The token ids that rows of a dataset stand for. */
final class DatasetTokens {
  private DatasetTokens() {}

  /** Refuses a dataset without the column that the Params name. */
  static void requireColumn(StructType schema, TokenColumnParams columns) {
    if (columns.isDefined(columns.tokensCol())) {
      BlockTable.requireColumn(
          schema,
          columns.getTokensCol(),
          "array of int or bigint",
          DatasetTokens::isTokens,
          "setTokensCol");
    } else {
      BlockTable.requireColumn(
          schema,
          columns.getTextCol(),
          "string",
          DataTypes.StringType::equals,
          "setTextCol, or a column of token ids with setTokensCol");
    }
  }

  private static boolean isTokens(DataType type) {
    return type instanceof ArrayType array && BlockTable.isWhole(array.elementType());
  }

  /** Calibration sequences: rows of ids as they are, or windows sampled from rows of text. */
  static TokenSequences calibration(
      Dataset<?> dataset, TokenColumnParams columns, WindowParams windows, Storage storage)
      throws IOException {
    if (columns.isDefined(columns.tokensCol())) {
      String name = columns.getTokensCol();
      List<int[]> sequences = new ArrayList<>();
      Iterator<Row> rows = dataset.select(functions.col(name)).toLocalIterator();
      while (rows.hasNext()) {
        int[] ids = ids(rows.next(), 0, name, sequences.size());
        if (ids.length == 0) {
          throw new IllegalArgumentException(
              "Cannot use column " + name + ": row " + sequences.size() + " has no token ids");
        }
        sequences.add(ids);
      }
      if (sequences.isEmpty()) {
        throw new IllegalArgumentException("Cannot use column " + name + ": it has no rows");
      }
      return TokenSequences.of(sequences);
    }
    try (TextDocuments documents =
            TextDocuments.read(List.of(new TextColumn(dataset, columns.getTextCol())));
        TextTokenizer tokenizer = TextTokenizer.load(storage, windows.getModel())) {
      return ParamValues.sampling(windows)
          .sample(
              documents, tokenizer, windows.getSequences(), windows.getLength(), windows.getSeed());
    }
  }

  /**
   * The ids of every row by itself.
   *
   * @param model folder of the tokenizer
   */
  static List<int[]> rows(
      List<Row> rows, StructType schema, LlmPrunerParams params, String model, Storage storage)
      throws IOException {
    List<int[]> tokens = new ArrayList<>();
    if (params.isDefined(params.tokensCol())) {
      String name = params.getTokensCol();
      for (Row row : rows) {
        tokens.add(ids(row, schema.fieldIndex(name), name, tokens.size()));
      }
      return tokens;
    }
    String name = params.getTextCol();
    try (TextTokenizer tokenizer = TextTokenizer.load(storage, model)) {
      for (Row row : rows) {
        int[] ids = tokenizer.encode(text(row, schema.fieldIndex(name), name, tokens.size()));
        tokens.add(Arrays.copyOf(ids, Math.min(ids.length, params.getLength())));
      }
    }
    return tokens;
  }

  private static int[] ids(Row row, int column, String name, long number) {
    if (row.isNullAt(column)) {
      throw isNull(name, number);
    }
    List<Number> values = row.getList(column);
    int[] ids = new int[values.size()];
    for (int i = 0; i < ids.length; i++) {
      if (values.get(i) == null) {
        throw isNull(name, number);
      }
      long id = values.get(i).longValue();
      if (id != (int) id) {
        throw new IllegalArgumentException(
            "Cannot use column " + name + ": " + id + " in row " + number + " is no token id");
      }
      ids[i] = (int) id;
    }
    return ids;
  }

  private static String text(Row row, int column, String name, long number) {
    if (row.isNullAt(column)) {
      throw isNull(name, number);
    }
    return row.getString(column);
  }

  private static IllegalArgumentException isNull(String column, long row) {
    return new IllegalArgumentException(
        "Cannot use column "
            + column
            + ": it is null in row "
            + row
            + "; filter such rows out, or fill them");
  }

  /** A column of text, a document a row, of which the driver holds a partition at a time. */
  private record TextColumn(Dataset<?> dataset, String name) implements DocumentSource {
    @Override
    public String location() {
      return "column " + name;
    }

    @Override
    public void forEach(Consumer<String> documents) {
      Iterator<Row> rows = dataset.select(functions.col(name)).toLocalIterator();
      for (long number = 0; rows.hasNext(); number++) {
        documents.accept(text(rows.next(), 0, name, number));
      }
    }
  }
}
