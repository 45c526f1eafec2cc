package ai.owl.spark.ml;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.LinearProfile;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.spark.storage.HadoopStorage;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Predicate;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.StructType;

/**
 * What is known of a checkpoint's decoder blocks, a row a block: what {@link LayerwiseSparsity}
 * learns from.
 */
public final class BlockTable {
  static final String BLOCK = "block";
  static final String WEIGHTS = "weights";
  static final String OUTLIERS = "outliers";
  static final String SCORE_SUM = "scoreSum";

  /** Block's 0-based index, prunable weights, outlier counts by threshold M, and summed scores. */
  static final StructType SCHEMA =
      new StructType()
          .add(BLOCK, DataTypes.IntegerType, false)
          .add(WEIGHTS, DataTypes.LongType, false)
          .add(
              OUTLIERS,
              DataTypes.createMapType(DataTypes.DoubleType, DataTypes.LongType, false),
              false)
          .add(SCORE_SUM, DataTypes.DoubleType, true);

  private static final int MAX_REPORT = 256 << 20;

  private BlockTable() {}

  /** The table of what was measured. */
  public static Dataset<Row> of(SparkSession spark, List<LayerProfile> profiles) {
    List<Row> rows = new ArrayList<>();
    for (LayerProfile profile : profiles) {
      double sum = profile.linears().stream().mapToDouble(LinearProfile::scoreSum).sum();
      boolean measured = !profile.linears().isEmpty() && !Double.isNaN(sum);
      rows.add(
          RowFactory.create(
              profile.block(), profile.weights(), profile.outliers(), measured ? sum : null));
    }
    return spark.createDataFrame(rows, SCHEMA);
  }

  /**
   * The table of a run of {@code owl prune} or {@link LlmPruner}, from the report that it left
   * beside its checkpoint. Reports have no summed scores: those are null.
   *
   * @param output the run's output folder
   */
  public static Dataset<Row> ofReport(SparkSession spark, String output) throws IOException {
    Storage storage = new HadoopStorage(spark.sparkContext().hadoopConfiguration());
    String location = Storage.resolve(output, "_owl/report.json");
    JsonNode blocks;
    try {
      blocks = new JsonMapper().readTree(storage.readAll(location, MAX_REPORT)).path("blocks");
    } catch (JsonProcessingException e) {
      throw new MalformedCheckpointException(
          "Cannot read " + location + ": it is no JSON, " + e.getOriginalMessage(), e);
    }
    if (blocks.isEmpty()) {
      throw new MalformedCheckpointException(
          "Cannot read " + location + ": it is no report of a run, since it has no blocks");
    }
    List<LayerProfile> profiles = new ArrayList<>();
    for (JsonNode block : blocks) {
      long weights = block.path("weights").asLong();
      SortedMap<Double, Long> outliers = new TreeMap<>();
      for (var ratio :
          (Iterable<Map.Entry<String, JsonNode>>) block.path("outlierRatios")::fields) {
        // A report has percentages, of which each is that of a whole number of weights.
        double count = ratio.getValue().asDouble(Double.NaN) / 100 * weights;
        if (!(Math.abs(count - Math.rint(count)) < 1e-3)) {
          throw new MalformedCheckpointException(
              "Cannot read "
                  + location
                  + ": the outlier ratio of block "
                  + block.path("index")
                  + " at threshold "
                  + ratio.getKey()
                  + ", "
                  + ratio.getValue()
                  + " %, is no whole number of its "
                  + weights
                  + " weights");
        }
        outliers.put(Double.valueOf(ratio.getKey()), Math.round(count));
      }
      profiles.add(new LayerProfile(block.path("index").asInt(-1), weights, outliers));
    }
    return of(spark, profiles);
  }

  /** Refuses a table that lacks what an allocator looks at. */
  static void requireColumns(
      StructType schema, LayerwiseSparsityParams columns, SparsityAllocator allocator) {
    String whole = "int or bigint";
    requireColumn(schema, columns.getBlockCol(), whole, BlockTable::isWhole, "setBlockCol");
    requireColumn(schema, columns.getWeightsCol(), whole, BlockTable::isWhole, "setWeightsCol");
    if (allocator.needs().contains(Evidence.OUTLIERS)) {
      requireColumn(
          schema,
          columns.getOutliersCol(),
          "map from double to bigint, which strategy " + allocator.name() + " looks at",
          type ->
              type instanceof MapType map
                  && map.keyType().equals(DataTypes.DoubleType)
                  && isWhole(map.valueType()),
          "setOutliersCol");
    }
    if (allocator.needs().contains(Evidence.SCORE_SUMS)) {
      requireColumn(
          schema,
          columns.getScoreSumCol(),
          "double, which strategy " + allocator.name() + " looks at",
          DataTypes.DoubleType::equals,
          "setScoreSumCol");
    }
  }

  static boolean isWhole(DataType type) {
    return type.equals(DataTypes.IntegerType) || type.equals(DataTypes.LongType);
  }

  /** Refuses a dataset without a column of some type. */
  static void requireColumn(
      StructType schema, String name, String type, Predicate<DataType> fits, String setter) {
    if (!Arrays.asList(schema.fieldNames()).contains(name)) {
      throw new IllegalArgumentException(
          "Cannot use the dataset: it has no column '"
              + name
              + "' ("
              + type
              + ") but "
              + Arrays.toString(schema.fieldNames())
              + "; name another with "
              + setter);
    }
    DataType actual = schema.apply(name).dataType();
    if (!fits.test(actual)) {
      throw new IllegalArgumentException(
          "Cannot use column '" + name + "': it is " + actual.simpleString() + ", not " + type);
    }
  }

  /** The schema that a transform gives. */
  static StructType withSparsity(StructType schema, LayerwiseSparsityParams columns) {
    return with(schema, columns.getSparsityCol(), DataTypes.DoubleType, false, "setSparsityCol");
  }

  /** The schema with one more column. */
  static StructType with(
      StructType schema, String name, DataType type, boolean nullable, String setter) {
    if (Arrays.asList(schema.fieldNames()).contains(name)) {
      throw new IllegalArgumentException(
          "Cannot append column '"
              + name
              + "': the dataset has one of that name; drop it, or name another with "
              + setter);
    }
    return schema.add(name, type, nullable);
  }

  /** What a table tells an allocator, in the order of the blocks. */
  static List<LayerProfile> profiles(
      Dataset<?> table, LayerwiseSparsityParams columns, SparsityAllocator allocator) {
    boolean outliers = allocator.needs().contains(Evidence.OUTLIERS);
    boolean scores = allocator.needs().contains(Evidence.SCORE_SUMS);
    List<Column> selected = new ArrayList<>();
    selected.add(functions.col(columns.getBlockCol()));
    selected.add(functions.col(columns.getWeightsCol()));
    if (outliers || scores) {
      selected.add(functions.col(outliers ? columns.getOutliersCol() : columns.getScoreSumCol()));
    }
    SortedMap<Long, Row> rows = byBlock(table.select(selected.toArray(Column[]::new)));
    List<LayerProfile> profiles = new ArrayList<>();
    for (Row row : rows.values()) {
      int block = profiles.size();
      long weights = ((Number) row.get(1)).longValue();
      if (weights < 1) {
        throw new IllegalArgumentException(
            "Cannot use block " + block + ": it has " + weights + " weights; it needs at least 1");
      }
      profiles.add(
          new LayerProfile(
              block,
              weights,
              outliers ? counts(row, block, weights) : new TreeMap<>(),
              List.of(asOneLinear(block, weights, scores ? row.getDouble(2) : Double.NaN))));
    }
    return profiles;
  }

  /** The rows by block, if there is one for each from 0 on and nothing is null. */
  private static SortedMap<Long, Row> byBlock(Dataset<Row> table) {
    SortedMap<Long, Row> rows = new TreeMap<>();
    for (Row row : table.collectAsList()) {
      for (int column = 0; column < row.size(); column++) {
        if (row.isNullAt(column)) {
          throw new IllegalArgumentException(
              "Cannot use column '"
                  + table.columns()[column]
                  + "': it is null"
                  + (column == 0 ? " in a row" : " for block " + row.get(0)));
        }
      }
      long block = ((Number) row.get(0)).longValue();
      if (rows.put(block, row) != null) {
        throw new IllegalArgumentException(
            "Cannot use the dataset: block " + block + " is in it more than once");
      }
    }
    if (rows.isEmpty()) {
      throw new IllegalArgumentException("Cannot use the dataset: it has no rows");
    }
    if (rows.firstKey() != 0 || rows.lastKey() != rows.size() - 1) {
      throw new IllegalArgumentException(
          "Cannot use the dataset: its "
              + rows.size()
              + " blocks go from "
              + rows.firstKey()
              + " to "
              + rows.lastKey()
              + ", and not one by one from 0 on");
    }
    return rows;
  }

  private static SortedMap<Double, Long> counts(Row row, int block, long weights) {
    SortedMap<Double, Long> counts = new TreeMap<>();
    row.<Double, Number>getJavaMap(2)
        .forEach(
            (threshold, count) -> {
              if (count == null || count.longValue() < 0 || count.longValue() > weights) {
                throw new IllegalArgumentException(
                    "Cannot use "
                        + count
                        + " outliers of block "
                        + block
                        + " at threshold "
                        + threshold
                        + ": it has "
                        + weights
                        + " weights");
              }
              counts.put(threshold, count.longValue());
            });
    return counts;
  }

  /** A block whose linear layers nobody tells apart. */
  private static LinearProfile asOneLinear(int block, long weights, double scoreSum) {
    return new LinearProfile("block " + block, weights, 1, scoreSum, new TreeMap<>());
  }

  /** The sparsities of a transformed table. */
  static GivenRatios ratios(Dataset<?> table, PerplexityEvaluator columns) {
    String sparsity = columns.getSparsityCol();
    requireColumn(
        table.schema(), columns.getBlockCol(), "int or bigint", BlockTable::isWhole, "setBlockCol");
    requireColumn(
        table.schema(), sparsity, "double", DataTypes.DoubleType::equals, "setSparsityCol");
    Dataset<Row> selected =
        table.select(functions.col(columns.getBlockCol()), functions.col(sparsity));
    SortedMap<String, Double> ratios = new TreeMap<>();
    byBlock(selected).forEach((block, row) -> ratios.put(block.toString(), row.getDouble(1)));
    return new GivenRatios("column " + sparsity, ratios);
  }
}
