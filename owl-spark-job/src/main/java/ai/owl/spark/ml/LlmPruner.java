package ai.owl.spark.ml;

import ai.owl.allocation.Rounding;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.OutputCheckpoint;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Optional;
import org.apache.spark.ml.Estimator;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsWritable;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/**
 * Prunes a checkpoint: {@code owl prune} as an {@code Estimator} over calibration text. Fitting
 * takes windows of the dataset's text, or its rows of token ids as they are, through the model, and
 * writes the pruned checkpoint to {@code output}. If neither metric nor strategy looks at
 * activations, the dataset is not read.
 *
 * <p>Text is sampled on the driver, in the order of the dataset's rows: the same windows every time
 * take the same order every time. Spark's default session will do; where the serializer is Kryo,
 * {@link ai.owl.spark.pipeline.OwlKryoRegistrator} has to be among its registrators.
 *
 * <p>Metrics are as published. What only the command line can set is the comparison group, Wanda's
 * variant, RIA's power, SparseGPT's dampening and block size, the rounding of N:M patterns, and
 * lists of ratios.
 */
public final class LlmPruner extends Estimator<LlmPrunerModel>
    implements LlmPrunerParams, DefaultParamsWritable {
  private static final long serialVersionUID = 1;

  private final String uid;

  public LlmPruner() {
    this(Identifiable$.MODULE$.randomUID("llmPruner"));
  }

  public LlmPruner(String uid) {
    this.uid = uid;
    setDefault(targetSparsity(), 0.7);
    setDefault(strategy(), "owl");
    setDefault(outlierThreshold(), 5.0);
    setDefault(lambda(), 0.08);
    setDefault(dlpAlpha(), 0.15);
    setDefault(sequences(), 128);
    setDefault(length(), 2048);
    setDefault(sampling(), "published");
    setDefault(seed(), 0L);
    setDefault(textCol(), "text");
    setDefault(metric(), "wanda");
    setDefault(propagation(), "sequential");
    setDefault(overwrite(), false);
    setDefault(pattern(), "unstructured");
    setDefault(epsilon(), 0.2);
    setDefault(alphaFit(), "peak");
    setDefault(alphaPerLinear(), false);
    setDefault(lossCol(), "loss");
  }

  @Override
  public String uid() {
    return uid;
  }

  public LlmPruner setModel(String value) {
    set(model(), value);
    return this;
  }

  public LlmPruner setSequences(int value) {
    set(sequences(), value);
    return this;
  }

  public LlmPruner setLength(int value) {
    set(length(), value);
    return this;
  }

  public LlmPruner setSampling(String value) {
    set(sampling(), value);
    return this;
  }

  public LlmPruner setSeed(long value) {
    set(seed(), value);
    return this;
  }

  public LlmPruner setOutput(String value) {
    set(output(), value);
    return this;
  }

  public LlmPruner setOverwrite(boolean value) {
    set(overwrite(), value);
    return this;
  }

  public LlmPruner setPattern(String value) {
    set(pattern(), value);
    return this;
  }

  public LlmPruner setEvaluation(String value) {
    set(evaluation(), value);
    return this;
  }

  public LlmPruner setEpsilon(double value) {
    set(epsilon(), value);
    return this;
  }

  public LlmPruner setAlphaFit(String value) {
    set(alphaFit(), value);
    return this;
  }

  public LlmPruner setAlphaPerLinear(boolean value) {
    set(alphaPerLinear(), value);
    return this;
  }

  public LlmPruner setLossCol(String value) {
    set(lossCol(), value);
    return this;
  }

  public LlmPruner setTargetSparsity(double value) {
    set(targetSparsity(), value);
    return this;
  }

  public LlmPruner setStrategy(String value) {
    set(strategy(), value);
    return this;
  }

  public LlmPruner setOutlierThreshold(double value) {
    set(outlierThreshold(), value);
    return this;
  }

  public LlmPruner setLambda(double value) {
    set(lambda(), value);
    return this;
  }

  public LlmPruner setDlpAlpha(double value) {
    set(dlpAlpha(), value);
    return this;
  }

  public LlmPruner setAtpBeta(double value) {
    set(atpBeta(), value);
    return this;
  }

  public LlmPruner setMetric(String value) {
    set(metric(), value);
    return this;
  }

  public LlmPruner setPropagation(String value) {
    set(propagation(), value);
    return this;
  }

  public LlmPruner setTextCol(String value) {
    set(textCol(), value);
    return this;
  }

  public LlmPruner setTokensCol(String value) {
    set(tokensCol(), value);
    return this;
  }

  @Override
  public LlmPrunerModel fit(Dataset<?> dataset) {
    PruneOptions options = options();
    if (options.needsCalibration()) {
      transformSchema(dataset.schema());
    }
    SessionPipeline session = SessionPipeline.of(dataset);
    try {
      // What can be refused at once is refused before any text is tokenized.
      ModelLayout.of(Checkpoint.open(session.storage(), getModel()));
      OutputCheckpoint.requireFree(session.storage(), options);
      Optional<TokenSequences> calibration =
          options.needsCalibration()
              ? Optional.of(DatasetTokens.calibration(dataset, this, this, session.storage()))
              : Optional.empty();
      Optional<TokenSequences> windows = Optional.empty();
      if (isDefined(evaluation())) {
        windows =
            Optional.of(
                session
                    .tokenInput()
                    .evaluation(
                        ParamValues.locations(getEvaluation()),
                        "evaluation",
                        getModel(),
                        getLength(),
                        0));
      }
      PruneReport report = session.pipeline().prune(options, calibration, windows);
      LlmPrunerModel model = new LlmPrunerModel(uid, report.toJson().toString());
      return copyValues(model, new ParamMap()).setParent(this);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private PruneOptions options() {
    SparsityPattern pattern = ParamValues.pattern(getPattern(), getTargetSparsity());
    if (isSet(targetSparsity()) && Math.abs(pattern.sparsity() - getTargetSparsity()) > 1e-9) {
      throw new IllegalArgumentException(
          "Cannot use targetSparsity "
              + getTargetSparsity()
              + " with pattern "
              + pattern.label()
              + ": it is a sparsity of "
              + pattern.sparsity()
              + "; leave out one of the two");
    }
    Pruner pruner = ParamValues.pruner(this);
    return new PruneOptions(
        getModel(),
        getOutput(),
        pattern,
        pruner,
        ParamValues.allocator(this).suitedTo(pruner),
        Rounding.MEAN_PRESERVING,
        ParamValues.propagation(this),
        getOverwrite());
  }

  @Override
  public StructType transformSchema(StructType schema) {
    DatasetTokens.requireColumn(schema, this);
    return BlockTable.with(schema, getLossCol(), DataTypes.DoubleType, true, "setLossCol");
  }

  @Override
  public LlmPruner copy(ParamMap extra) {
    return defaultCopy(extra);
  }

  public static MLReader<LlmPruner> read() {
    return new DefaultParamsReader<>();
  }

  public static LlmPruner load(String path) {
    return read().load(path);
  }
}
