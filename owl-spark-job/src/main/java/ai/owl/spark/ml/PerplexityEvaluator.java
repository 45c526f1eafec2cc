package ai.owl.spark.ml;

import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.Rounding;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.SparsityPattern;
import ai.owl.spark.storage.TokenInput;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.apache.spark.ml.evaluation.Evaluator;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsWritable;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.sql.Dataset;

/**
 * How good a checkpoint is when each block is pruned to the sparsity that a table gives it: the
 * perplexity on evaluation text, which is better when smaller. No checkpoint is written; blocks are
 * pruned as they are run, as in {@code owl sweep}. What was measured is remembered in {@code
 * output}, and not measured again.
 *
 * <p>With {@link LayerwiseSparsity} and a {@code ParamGridBuilder} it chooses a strategy:
 *
 * <pre>{@code
 * Dataset<Row> blocks = profiler.transform(calibrationText); // the one pass through the dense model
 * double best = Double.POSITIVE_INFINITY;
 * for (ParamMap way : new ParamGridBuilder()
 *     .addGrid(sparsity.outlierThreshold(), new double[] {3, 5})
 *     .addGrid(sparsity.lambda(), new double[] {0.05, 0.08})
 *     .build()) {
 *   LayerwiseSparsityModel model = sparsity.fit(blocks, way);
 *   double perplexity = evaluator.evaluate(model.transform(blocks));
 *   if (perplexity < best) {
 *     best = perplexity;
 *     winner = model;
 *   }
 * }
 * }</pre>
 *
 * <p>This loop stands where a {@code CrossValidator} or a {@code TrainValidationSplit} would stand
 * elsewhere. These hold back some of the rows: here, that would be blocks of the model. What has to
 * be held back is text, and is: {@code evaluation} is other text than calibration.
 */
public final class PerplexityEvaluator extends Evaluator
    implements WindowParams, PrunerParams, DefaultParamsWritable {
  private static final long serialVersionUID = 1;

  private final String uid;

  public PerplexityEvaluator() {
    this(Identifiable$.MODULE$.randomUID("perplexityEvaluator"));
  }

  public PerplexityEvaluator(String uid) {
    this.uid = uid;
    setDefault(sequences(), 128);
    setDefault(length(), 2048);
    setDefault(sampling(), "published");
    setDefault(seed(), 0L);
    setDefault(metric(), "wanda");
    setDefault(propagation(), "sequential");
    setDefault(blockCol(), BlockTable.BLOCK);
    setDefault(sparsityCol(), "sparsity");
  }

  @Override
  public String uid() {
    return uid;
  }

  /** Text or token ids that the metric's statistics come from. */
  public Param<String> calibration() {
    return new Param<>(
        uid(),
        "calibration",
        "locations, separated by commas, of text or token ids that the metric's statistics come from (--calibration)");
  }

  /** Text or token ids to measure perplexity on. */
  public Param<String> evaluation() {
    return new Param<>(
        uid(),
        "evaluation",
        "locations, separated by commas, of text or token ids to measure perplexity on (--evaluate)");
  }

  /** Where results are remembered. */
  public Param<String> output() {
    return new Param<>(
        uid,
        "output",
        "folder of its own, in which what was measured is remembered, as owl sweep remembers its"
            + " rows");
  }

  /** Column of the block's index. */
  public Param<String> blockCol() {
    return new Param<>(uid, "blockCol", "column of the block's 0-based index (int or bigint)");
  }

  /** Column of the block's sparsity. */
  public Param<String> sparsityCol() {
    return new Param<>(
        uid, "sparsityCol", "column of the share of the block's weights to remove (double)");
  }

  public String getCalibration() {
    return ParamCheck.required(this, calibration(), "text or token ids", "setCalibration");
  }

  public String getEvaluation() {
    return ParamCheck.required(this, evaluation(), "text or token ids", "setEvaluation");
  }

  public String getOutput() {
    return ParamCheck.required(this, output(), "a folder of its own", "setOutput");
  }

  public String getBlockCol() {
    return getOrDefault(blockCol());
  }

  public String getSparsityCol() {
    return getOrDefault(sparsityCol());
  }

  public PerplexityEvaluator setModel(String value) {
    set(model(), value);
    return this;
  }

  public PerplexityEvaluator setSequences(int value) {
    set(sequences(), value);
    return this;
  }

  public PerplexityEvaluator setLength(int value) {
    set(length(), value);
    return this;
  }

  public PerplexityEvaluator setSampling(String value) {
    set(sampling(), value);
    return this;
  }

  public PerplexityEvaluator setSeed(long value) {
    set(seed(), value);
    return this;
  }

  public PerplexityEvaluator setMetric(String value) {
    set(metric(), value);
    return this;
  }

  public PerplexityEvaluator setPropagation(String value) {
    set(propagation(), value);
    return this;
  }

  public PerplexityEvaluator setCalibration(String value) {
    set(calibration(), value);
    return this;
  }

  public PerplexityEvaluator setEvaluation(String value) {
    set(evaluation(), value);
    return this;
  }

  public PerplexityEvaluator setOutput(String value) {
    set(output(), value);
    return this;
  }

  public PerplexityEvaluator setBlockCol(String value) {
    set(blockCol(), value);
    return this;
  }

  public PerplexityEvaluator setSparsityCol(String value) {
    set(sparsityCol(), value);
    return this;
  }

  /**
   * The perplexity; infinite if the pruned model is beyond measuring, because its hidden states or
   * its perplexity are not finite. Why is in Spark's log.
   */
  @Override
  public double evaluate(Dataset<?> dataset) {
    SessionPipeline session = SessionPipeline.of(dataset);
    GivenRatios ratios = BlockTable.ratios(dataset, this);
    try {
      SweepOptions options = options(ratios, session.storage());
      TokenInput input = session.tokenInput();
      TokenSequences calibration =
          input.calibration(
              ParamValues.locations(getCalibration()),
              getModel(),
              ParamValues.sampling(this),
              getSequences(),
              getLength(),
              getSeed());
      TokenSequences windows =
          input.evaluation(
              ParamValues.locations(getEvaluation()), "evaluation", getModel(), getLength(), 0);
      SweepReport report = session.pipeline().sweep(options, calibration, windows);
      return report.rows().isEmpty()
          ? Double.POSITIVE_INFINITY
          : report.rows().get(0).pruned().value();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A sweep of one row. */
  private SweepOptions options(GivenRatios ratios, Storage storage) throws IOException {
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, getModel()));
    List<LayerProfile> shapes = model.blocks().stream().map(LayerProfile::ofShapes).toList();
    double target = ratios.mean(shapes);
    ratios.allocate(shapes, target); // refuses what does not fit, which a sweep would leave out
    return new SweepOptions(
        getModel(),
        Storage.resolve(getOutput(), "perplexity"),
        List.of(new SparsityPattern.Unstructured(target)),
        List.of(ParamValues.pruner(this)),
        List.of(ratios),
        Rounding.MEAN_PRESERVING,
        List.of(ParamValues.propagation(this)));
  }

  @Override
  public boolean isLargerBetter() {
    return false;
  }

  @Override
  public PerplexityEvaluator copy(ParamMap extra) {
    return defaultCopy(extra);
  }

  public static MLReader<PerplexityEvaluator> read() {
    return new DefaultParamsReader<>();
  }

  public static PerplexityEvaluator load(String path) {
    return read().load(path);
  }
}
