package ai.owl.spark.ml;

import ai.owl.allocation.SparsityAllocation;
import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.apache.spark.ml.Model;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsWriter;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.ml.util.MLWritable;
import org.apache.spark.ml.util.MLWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.api.java.UDF1;
import org.apache.spark.sql.expressions.UserDefinedFunction;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/** The sparsity of each decoder block, as {@link LayerwiseSparsity} has learnt it. */
public final class LayerwiseSparsityModel extends Model<LayerwiseSparsityModel>
    implements LayerwiseSparsityParams, MLWritable {
  private static final long serialVersionUID = 1;

  private static final String DATA = "data";
  private static final StructType SCHEMA =
      new StructType()
          .add("targetSparsity", DataTypes.DoubleType)
          .add("sparsities", DataTypes.createArrayType(DataTypes.DoubleType))
          .add("weights", DataTypes.createArrayType(DataTypes.LongType))
          .add("warnings", DataTypes.createArrayType(DataTypes.StringType));

  private final String uid;
  private Optional<SparsityAllocation> allocation;

  LayerwiseSparsityModel(String uid, SparsityAllocation allocation) {
    this.uid = uid;
    this.allocation = Optional.of(allocation);
  }

  /** A model that knows nothing yet: where Spark begins when it reads one. */
  public LayerwiseSparsityModel(String uid) {
    this.uid = uid;
    this.allocation = Optional.empty();
  }

  @Override
  public String uid() {
    return uid;
  }

  public LayerwiseSparsityModel setBlockCol(String value) {
    set(blockCol(), value);
    return this;
  }

  public LayerwiseSparsityModel setSparsityCol(String value) {
    set(sparsityCol(), value);
    return this;
  }

  /** What was learnt. */
  public SparsityAllocation allocation() {
    return allocation.orElseThrow(
        () ->
            new IllegalStateException("Cannot use " + uid + ": it was neither fitted nor loaded"));
  }

  /** The share of weights to remove from each block, by its index. */
  public double[] sparsities() {
    return allocation().sparsities().stream().mapToDouble(Double::doubleValue).toArray();
  }

  /** The share of all prunable weights that goes. */
  public double weightedMean() {
    return allocation().weightedMean();
  }

  /** What the user should know of how the sparsities came about, a sentence each. */
  public List<String> warnings() {
    return allocation().warnings();
  }

  /** Appends each block's sparsity. */
  @Override
  public Dataset<Row> transform(Dataset<?> dataset) {
    double[] sparsities = sparsities();
    transformSchema(dataset.schema());
    UserDefinedFunction sparsity =
        functions.udf(new SparsityOf(sparsities), DataTypes.DoubleType).asNonNullable();
    return dataset.withColumn(
        getSparsityCol(), sparsity.apply(functions.col(getBlockCol()).cast(DataTypes.LongType)));
  }

  /** Gives a block its sparsity, on executors. */
  private record SparsityOf(double[] sparsities) implements UDF1<Long, Double> {
    @Override
    public Double call(Long block) {
      if (block == null || block < 0 || block >= sparsities.length) {
        throw new IllegalArgumentException(
            "Cannot give block "
                + block
                + " a sparsity: the model was fitted on blocks 0.."
                + (sparsities.length - 1));
      }
      return sparsities[(int) (long) block];
    }
  }

  @Override
  public StructType transformSchema(StructType schema) {
    BlockTable.requireColumn(
        schema, getBlockCol(), "int or bigint", BlockTable::isWhole, "setBlockCol");
    return BlockTable.withSparsity(schema, this);
  }

  @Override
  public LayerwiseSparsityModel copy(ParamMap extra) {
    return copyValues(new LayerwiseSparsityModel(uid, allocation()), extra).setParent(parent());
  }

  @Override
  public MLWriter write() {
    return new Writer(this);
  }

  public static MLReader<LayerwiseSparsityModel> read() {
    return new Reader();
  }

  public static LayerwiseSparsityModel load(String path) {
    return read().load(path);
  }

  /** The Params as Spark writes them, and the allocation in a Parquet file of one row. */
  private static final class Writer extends MLWriter {
    private final LayerwiseSparsityModel model;

    private Writer(LayerwiseSparsityModel model) {
      this.model = model;
    }

    @Override
    public void saveImpl(String path) {
      SparsityAllocation learnt = model.allocation();
      try {
        new DefaultParamsWriter(model).session(sparkSession()).save(path);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      Row row =
          RowFactory.create(
              learnt.target(),
              learnt.sparsities().toArray(),
              learnt.weights().toArray(),
              learnt.warnings().toArray());
      sparkSession()
          .createDataFrame(List.of(row), SCHEMA)
          .coalesce(1)
          .write()
          .parquet(Storage.resolve(path, DATA));
    }
  }

  private static final class Reader extends MLReader<LayerwiseSparsityModel> {
    @Override
    public LayerwiseSparsityModel load(String path) {
      LayerwiseSparsityModel model =
          new DefaultParamsReader<LayerwiseSparsityModel>().session(sparkSession()).load(path);
      Row row = sparkSession().read().parquet(Storage.resolve(path, DATA)).first();
      List<Double> sparsities = row.getList(1);
      model.allocation =
          Optional.of(
              new SparsityAllocation(
                  row.getDouble(0),
                  sparsities,
                  row.getList(2),
                  Collections.nCopies(sparsities.size(), List.of()),
                  row.getList(3)));
      return model;
    }
  }
}
