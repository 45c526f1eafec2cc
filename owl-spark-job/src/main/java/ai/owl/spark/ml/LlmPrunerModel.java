package ai.owl.spark.ml;

import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.apache.spark.ml.Model;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsWriter;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.ml.util.MLWritable;
import org.apache.spark.ml.util.MLWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/**
 * A checkpoint that {@link LlmPruner} has pruned. Its weights lie in {@code output}, and nowhere
 * else: saving this keeps where they are and what was done, not the weights.
 */
public final class LlmPrunerModel extends Model<LlmPrunerModel>
    implements LlmPrunerParams, MLWritable {
  private static final long serialVersionUID = 1;

  private static final String REPORT = "report";

  private final String uid;
  private Optional<String> report;

  LlmPrunerModel(String uid, String report) {
    this.uid = uid;
    this.report = Optional.of(report);
  }

  /** A model that knows nothing yet: where Spark begins when it reads one. */
  public LlmPrunerModel(String uid) {
    this.uid = uid;
    this.report = Optional.empty();
  }

  @Override
  public String uid() {
    return uid;
  }

  public LlmPrunerModel setTextCol(String value) {
    set(textCol(), value);
    return this;
  }

  public LlmPrunerModel setTokensCol(String value) {
    set(tokensCol(), value);
    return this;
  }

  public LlmPrunerModel setLength(int value) {
    set(length(), value);
    return this;
  }

  public LlmPrunerModel setLossCol(String value) {
    set(lossCol(), value);
    return this;
  }

  /** What the run did, as JSON, like {@code output/_owl/report.json}. */
  public String report() {
    return report.orElseThrow(
        () ->
            new IllegalStateException("Cannot use " + uid + ": it was neither fitted nor loaded"));
  }

  /** The perplexity of the pruned checkpoint, if {@code evaluation} was given and it has one. */
  public OptionalDouble perplexity() {
    return number("/perplexity/pruned");
  }

  /** The perplexity of the checkpoint before, if {@code evaluation} was given. */
  public OptionalDouble densePerplexity() {
    return number("/perplexity/dense");
  }

  /** The share of all prunable weights that is zero now. */
  public OptionalDouble reached() {
    return number("/sparsity/reached");
  }

  /** The share of weights that was to go from each block. */
  public double[] sparsities() {
    JsonNode blocks = json().path("blocks");
    double[] sparsities = new double[blocks.size()];
    for (int i = 0; i < sparsities.length; i++) {
      sparsities[i] = blocks.get(i).path("sparsity").asDouble(Double.NaN);
    }
    return sparsities;
  }

  /** What the user should know, a sentence each. */
  public List<String> warnings() {
    List<String> warnings = new ArrayList<>();
    json().path("warnings").forEach(warning -> warnings.add(warning.asText()));
    return warnings;
  }

  private OptionalDouble number(String pointer) {
    JsonNode value = json().at(pointer);
    return value.isNumber() ? OptionalDouble.of(value.doubleValue()) : OptionalDouble.empty();
  }

  private JsonNode json() {
    try {
      return new JsonMapper().readTree(report());
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("Cannot read the report of " + uid, e);
    }
  }

  /**
   * Appends the pruned checkpoint's mean next-token loss on each row, in nats: of the first {@code
   * length} tokens of its text, or of all its token ids. Null if there are fewer than two, and
   * nothing is predicted; NaN or infinite if the model's hidden states are. The exponential of the
   * mean over windows of one length is their perplexity. Runs the model when it is called, and
   * collects the rows for it, as tokens are gathered on the driver everywhere here.
   */
  @Override
  public Dataset<Row> transform(Dataset<?> dataset) {
    StructType schema = transformSchema(dataset.schema());
    SessionPipeline session = SessionPipeline.of(dataset);
    try {
      List<Row> rows = dataset.toDF().collectAsList();
      List<int[]> tokens =
          DatasetTokens.rows(rows, dataset.schema(), this, getOutput(), session.storage());
      List<int[]> predicting = tokens.stream().filter(ids -> ids.length > 1).toList();
      double[] losses =
          predicting.isEmpty()
              ? new double[0]
              : session.pipeline().losses(getOutput(), TokenSequences.of(predicting));
      List<Row> appended = new ArrayList<>();
      int next = 0;
      for (int i = 0; i < rows.size(); i++) {
        Object[] values = new Object[schema.size()];
        for (int column = 0; column < values.length - 1; column++) {
          values[column] = rows.get(i).get(column);
        }
        values[values.length - 1] = tokens.get(i).length > 1 ? losses[next++] : null;
        appended.add(RowFactory.create(values));
      }
      return dataset.sparkSession().createDataFrame(appended, schema);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public StructType transformSchema(StructType schema) {
    DatasetTokens.requireColumn(schema, this);
    return BlockTable.with(schema, getLossCol(), DataTypes.DoubleType, true, "setLossCol");
  }

  @Override
  public LlmPrunerModel copy(ParamMap extra) {
    return copyValues(new LlmPrunerModel(uid, report()), extra).setParent(parent());
  }

  @Override
  public MLWriter write() {
    return new Writer(this);
  }

  public static MLReader<LlmPrunerModel> read() {
    return new Reader();
  }

  public static LlmPrunerModel load(String path) {
    return read().load(path);
  }

  /** The Params as Spark writes them, and the report in a text file of one line. */
  private static final class Writer extends MLWriter {
    private final LlmPrunerModel model;

    private Writer(LlmPrunerModel model) {
      this.model = model;
    }

    @Override
    public void saveImpl(String path) {
      try {
        new DefaultParamsWriter(model).session(sparkSession()).save(path);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      sparkSession()
          .createDataset(List.of(model.report()), Encoders.STRING())
          .coalesce(1)
          .write()
          .text(Storage.resolve(path, REPORT));
    }
  }

  private static final class Reader extends MLReader<LlmPrunerModel> {
    @Override
    public LlmPrunerModel load(String path) {
      LlmPrunerModel model =
          new DefaultParamsReader<LlmPrunerModel>().session(sparkSession()).load(path);
      model.report =
          Optional.of(
              sparkSession().read().text(Storage.resolve(path, REPORT)).first().getString(0));
      return model;
    }
  }
}
