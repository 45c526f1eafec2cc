package ai.owl.spark.ml;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.calibration.TokenSequences;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.spark.ml.Transformer;
import org.apache.spark.ml.param.DoubleArrayParam;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsWritable;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.StructType;

/**
 * Turns calibration text into the table of a checkpoint's blocks that {@link LayerwiseSparsity}
 * learns from: takes windows of the text through the dense model, and counts each block's outliers
 * at every threshold asked for. That is done when {@code transform} is called, and once; what it
 * returns is small and local.
 */
public final class BlockProfiler extends Transformer
    implements WindowParams, TokenColumnParams, DefaultParamsWritable {
  private static final long serialVersionUID = 1;

  private final String uid;

  public BlockProfiler() {
    this(Identifiable$.MODULE$.randomUID("blockProfiler"));
  }

  public BlockProfiler(String uid) {
    this.uid = uid;
    setDefault(sequences(), 128);
    setDefault(length(), 2048);
    setDefault(sampling(), "published");
    setDefault(seed(), 0L);
    setDefault(textCol(), "text");
    setDefault(thresholds(), new double[] {3, 5, 7, 10});
  }

  @Override
  public String uid() {
    return uid;
  }

  /** The thresholds M that outliers are counted at. */
  public DoubleArrayParam thresholds() {
    return new DoubleArrayParam(
        this,
        "thresholds",
        "values of outlierThreshold to count outliers at; one pass serves all",
        ParamCheck.by(
            values -> {
              if (values.length == 0 || Arrays.stream(values).anyMatch(m -> !(m > 0))) {
                throw new IllegalArgumentException(
                    "Cannot use thresholds "
                        + Arrays.toString(values)
                        + ": they are positive numbers, at least one");
              }
            }));
  }

  public double[] getThresholds() {
    return getOrDefault(thresholds());
  }

  public BlockProfiler setModel(String value) {
    set(model(), value);
    return this;
  }

  public BlockProfiler setSequences(int value) {
    set(sequences(), value);
    return this;
  }

  public BlockProfiler setLength(int value) {
    set(length(), value);
    return this;
  }

  public BlockProfiler setSampling(String value) {
    set(sampling(), value);
    return this;
  }

  public BlockProfiler setSeed(long value) {
    set(seed(), value);
    return this;
  }

  public BlockProfiler setTextCol(String value) {
    set(textCol(), value);
    return this;
  }

  public BlockProfiler setTokensCol(String value) {
    set(tokensCol(), value);
    return this;
  }

  public BlockProfiler setThresholds(double... value) {
    set(thresholds(), value);
    return this;
  }

  @Override
  public Dataset<Row> transform(Dataset<?> dataset) {
    transformSchema(dataset.schema());
    SessionPipeline session = SessionPipeline.of(dataset);
    SortedSet<Double> asked =
        Arrays.stream(getThresholds()).boxed().collect(Collectors.toCollection(TreeSet::new));
    try {
      TokenSequences calibration =
          DatasetTokens.calibration(dataset, this, this, session.storage());
      List<LayerProfile> profiles =
          session
              .pipeline()
              .profile(
                  getModel(), calibration, asked, Set.of(Evidence.OUTLIERS, Evidence.SCORE_SUMS));
      return BlockTable.of(dataset.sparkSession(), profiles);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public StructType transformSchema(StructType schema) {
    DatasetTokens.requireColumn(schema, this);
    return BlockTable.SCHEMA;
  }

  @Override
  public BlockProfiler copy(ParamMap extra) {
    return defaultCopy(extra);
  }

  public static MLReader<BlockProfiler> read() {
    return new DefaultParamsReader<>();
  }

  public static BlockProfiler load(String path) {
    return read().load(path);
  }
}
