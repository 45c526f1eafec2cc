package ai.owl.spark.ml;

import ai.owl.allocation.SparsityAllocation;
import ai.owl.allocation.SparsityAllocator;
import org.apache.spark.ml.Estimator;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsWritable;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.types.StructType;

/**
 * Learns a sparsity for each decoder block from a table with a row a block, as {@link
 * BlockProfiler} makes it, or {@link BlockTable} from the report of an earlier run. The allocation
 * is that of {@link ai.owl.allocation}; owl, owl-bounded, owl-inverse, uniform, dlp and atp can be
 * computed from such a table, and the others are refused.
 *
 * <pre>
 * block int | weights bigint | outliers map&lt;double, bigint&gt; | scoreSum double
 * </pre>
 *
 * <p>Outliers come as counts by threshold M, and not as one ratio: a single pass through the dense
 * model then serves every M of a grid, and nothing is lost to rounding. Only the columns that the
 * strategy looks at need to be there. A table is small, and is collected.
 */
public final class LayerwiseSparsity extends Estimator<LayerwiseSparsityModel>
    implements LayerwiseSparsityParams, DefaultParamsWritable {
  private static final long serialVersionUID = 1;

  private final String uid;

  public LayerwiseSparsity() {
    this(Identifiable$.MODULE$.randomUID("layerwiseSparsity"));
  }

  public LayerwiseSparsity(String uid) {
    this.uid = uid;
    setDefault(targetSparsity(), 0.7);
    setDefault(strategy(), "owl");
    setDefault(outlierThreshold(), 5.0);
    setDefault(lambda(), 0.08);
    setDefault(dlpAlpha(), 0.15);
    setDefault(blockCol(), BlockTable.BLOCK);
    setDefault(weightsCol(), BlockTable.WEIGHTS);
    setDefault(outliersCol(), BlockTable.OUTLIERS);
    setDefault(scoreSumCol(), BlockTable.SCORE_SUM);
    setDefault(sparsityCol(), "sparsity");
  }

  @Override
  public String uid() {
    return uid;
  }

  public LayerwiseSparsity setTargetSparsity(double value) {
    set(targetSparsity(), value);
    return this;
  }

  public LayerwiseSparsity setStrategy(String value) {
    set(strategy(), value);
    return this;
  }

  public LayerwiseSparsity setOutlierThreshold(double value) {
    set(outlierThreshold(), value);
    return this;
  }

  public LayerwiseSparsity setLambda(double value) {
    set(lambda(), value);
    return this;
  }

  public LayerwiseSparsity setDlpAlpha(double value) {
    set(dlpAlpha(), value);
    return this;
  }

  public LayerwiseSparsity setAtpBeta(double value) {
    set(atpBeta(), value);
    return this;
  }

  public LayerwiseSparsity setBlockCol(String value) {
    set(blockCol(), value);
    return this;
  }

  public LayerwiseSparsity setWeightsCol(String value) {
    set(weightsCol(), value);
    return this;
  }

  public LayerwiseSparsity setOutliersCol(String value) {
    set(outliersCol(), value);
    return this;
  }

  public LayerwiseSparsity setScoreSumCol(String value) {
    set(scoreSumCol(), value);
    return this;
  }

  public LayerwiseSparsity setSparsityCol(String value) {
    set(sparsityCol(), value);
    return this;
  }

  @Override
  public LayerwiseSparsityModel fit(Dataset<?> dataset) {
    transformSchema(dataset.schema());
    SparsityAllocator allocator = ParamValues.allocatorByBlock(this);
    SparsityAllocation allocation =
        allocator.allocate(BlockTable.profiles(dataset, this, allocator), getTargetSparsity());
    return copyValues(new LayerwiseSparsityModel(uid, allocation), new ParamMap()).setParent(this);
  }

  @Override
  public StructType transformSchema(StructType schema) {
    BlockTable.requireColumns(schema, this, ParamValues.allocatorByBlock(this));
    return BlockTable.withSparsity(schema, this);
  }

  @Override
  public LayerwiseSparsity copy(ParamMap extra) {
    return defaultCopy(extra);
  }

  public static MLReader<LayerwiseSparsity> read() {
    return new DefaultParamsReader<>();
  }

  public static LayerwiseSparsity load(String path) {
    return read().load(path);
  }
}
