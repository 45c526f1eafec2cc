package ai.owl.spark.ml;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.owl.allocation.Owl;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.DocumentSource;
import ai.owl.calibration.TextDocuments;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.spark.pipeline.SparkPipeline;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs in a session as a notebook has it, with Spark's default serializer. */
class LlmPrunerTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static final Fixture FIXTURE = Fixture.golden("llama3-bf16");
  private static SparkSession spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = NotebookSession.open();
  }

  @AfterAll
  static void stop() {
    spark.stop();
  }

  private LlmPruner pruner(String name) {
    return new LlmPruner()
        .setModel(FIXTURE.model())
        .setOutput(temporary.resolve(name).toString())
        .setTokensCol("tokens");
  }

  private static Dataset<Row> calibration() throws Exception {
    return NotebookSession.tokens(spark, FIXTURE.calibration().sequences());
  }

  @Test
  void writesTheBytesThatThePipelinesWrite() throws Exception {
    PruneOptions options = PruneOptions.defaults(FIXTURE.model(), "unused");
    requireTheSame(pruner("wanda"), options);
    requireTheSame(
        pruner("sparsegpt").setMetric("sparsegpt").setLambda(0.02).setTargetSparsity(0.55),
        options.withPruner(new SparseGpt()).withSparsity(0.55).withAllocator(new Owl(5, 0.02)));
    requireTheSame(
        pruner("pattern").setPattern("2:4").setStrategy("uniform"),
        options.withPattern(new SparsityPattern.NofM(2, 4)).withAllocator(new Uniform()));
  }

  private void requireTheSame(LlmPruner pruner, PruneOptions options) throws Exception {
    LlmPrunerModel model =
        pruner.setEvaluation(FIXTURE.expected("tokens.safetensors").toString()).fit(calibration());
    PruneOptions local = options.withOutput(model.getOutput() + "-local");
    PruneReport report =
        new LocalPipeline(STORAGE, Progress.NONE)
            .prune(local, Optional.of(FIXTURE.calibration()), Optional.of(FIXTURE.evaluation()));
    PruneOptions distributed = options.withOutput(model.getOutput() + "-spark");
    new SparkPipeline(
            JavaSparkContext.fromSparkContext(spark.sparkContext()), STORAGE, Progress.NONE)
        .prune(distributed, Optional.of(FIXTURE.calibration()), Optional.of(FIXTURE.evaluation()));
    assertThat(weights(model.getOutput()))
        .isEqualTo(weights(local.output()))
        .isEqualTo(weights(distributed.output()))
        .isNotEmpty();
    assertThat(model.perplexity()).hasValue(report.pruned().orElseThrow().value());
    assertThat(model.densePerplexity()).hasValue(report.dense().orElseThrow().value());
    assertThat(model.reached()).hasValue(report.reached());
    assertThat(model.warnings()).isEqualTo(report.findings());
    assertThat(model.sparsities())
        .containsExactly(
            report.blocks().stream().mapToDouble(PruneReport.Block::sparsity).toArray());
  }

  /** Every file of a checkpoint, but not what its run tells of itself. */
  private static Map<String, List<Byte>> weights(String folder) throws Exception {
    Map<String, List<Byte>> contents = new HashMap<>();
    try (Stream<Path> files = Files.walk(Path.of(folder))) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        if (!file.toString().contains("/_owl/")) {
          byte[] bytes = Files.readAllBytes(file);
          Byte[] boxed = new Byte[bytes.length];
          java.util.Arrays.setAll(boxed, i -> bytes[i]);
          contents.put(Path.of(folder).relativize(file).toString(), List.of(boxed));
        }
      }
    }
    return contents;
  }

  @Test
  void samplesTextAsTheCommandLineDoes() throws Exception {
    Path sample = Path.of(LlmPruner.class.getResource("/sample/model").toURI());
    Path text = sample.resolveSibling("calibration.jsonl");
    Dataset<Row> dataset = spark.read().json(text.toString());
    LlmPruner pruner =
        new LlmPruner()
            .setModel(sample.toString())
            .setOutput(temporary.resolve("text").toString())
            .setSequences(3)
            .setLength(40)
            .setSeed(7)
            .setOutlierThreshold(3);
    LlmPrunerModel model = pruner.fit(dataset);
    TokenSequences tokens;
    try (TextDocuments documents =
            TextDocuments.read(List.of(DocumentSource.of(STORAGE, text.toString())));
        TextTokenizer tokenizer = TextTokenizer.load(STORAGE, sample.toString())) {
      tokens = WindowSampling.PUBLISHED.sample(documents, tokenizer, 3, 40, 7);
    }
    PruneOptions options =
        PruneOptions.defaults(sample.toString(), temporary.resolve("local").toString())
            .withAllocator(new Owl(3, 0.08));
    PruneReport report =
        new LocalPipeline(STORAGE, Progress.NONE)
            .prune(options, Optional.of(tokens), Optional.empty());
    assertThat(weights(model.getOutput())).isEqualTo(weights(options.output()));
    assertThat(model.report()).contains(report.fingerprint());
    assertThat(model.perplexity()).isEmpty();

    Dataset<Row> stories =
        spark
            .createDataset(
                List.of("One morning, there was a lazy boy.", "", "Once"), Encoders.STRING())
            .toDF("text");
    List<Row> scored = model.setLength(6).transform(stories).collectAsList();
    assertThat(scored.get(0).getString(0)).startsWith("One morning");
    assertThat(scored.get(0).<Double>getAs("loss")).isPositive();
    assertThat(scored.get(1).isNullAt(1)).as("nothing to predict").isTrue();
  }

  @Test
  void theModelScoresRows() throws Exception {
    LlmPrunerModel model =
        pruner("scored")
            .setEvaluation(FIXTURE.expected("tokens.safetensors").toString())
            .fit(calibration());
    Dataset<Row> windows = NotebookSession.tokens(spark, FIXTURE.evaluation().sequences());
    Dataset<Row> scored = model.transform(windows);
    assertThat(scored.schema()).isEqualTo(model.transformSchema(windows.schema()));
    double meanLoss = scored.select(functions.avg("loss")).first().getDouble(0);
    assertThat(Math.exp(meanLoss)).isCloseTo(model.perplexity().orElseThrow(), within(1e-9));
    assertThat(scored.drop("loss").collectAsList()).isEqualTo(windows.collectAsList());
  }

  @Test
  void looksAtNoDatasetIfNobodyLooksAtActivations() {
    Dataset<Row> unreadable =
        spark
            .range(1)
            .withColumn("text", functions.expr("raise_error('somebody looked')"))
            .drop("id");
    LlmPrunerModel model =
        pruner("magnitude").setMetric("magnitude").setStrategy("uniform").fit(unreadable);
    assertThat(model.reached().orElseThrow()).isCloseTo(0.7, within(0.01));
    assertThat(new MetricPruner(new Magnitude()).needsStatistics()).isFalse();
  }

  @Test
  void everyStrategyOfACheckpointIsThere() {
    List<String> strategies = ParamValues.strategies();
    for (String strategy : strategies) {
      LlmPruner pruner = pruner(strategy).setStrategy(strategy).setAtpBeta(0.001);
      assertThat(ParamValues.allocator(pruner).name())
          .isEqualTo(strategy.equals("erk") ? "er" : strategy);
    }
  }

  @Test
  void prunesByLinearLayerToo() throws Exception {
    PruneOptions options =
        PruneOptions.defaults(FIXTURE.model(), temporary.resolve("lamp-local").toString())
            .withAllocator(new ai.owl.allocation.Lamp());
    new LocalPipeline(STORAGE, Progress.NONE)
        .prune(options, Optional.of(FIXTURE.calibration()), Optional.empty());
    LlmPrunerModel model = pruner("lamp").setStrategy("lamp").fit(calibration());
    assertThat(weights(model.getOutput())).isEqualTo(weights(options.output()));
  }

  @Test
  void survivesSavingAndLoading() throws Exception {
    LlmPruner pruner = pruner("saved").setTargetSparsity(0.5).setSeed(3);
    LlmPrunerModel model = pruner.fit(calibration());
    String saved = temporary.resolve("saved-model").toString();
    model.save(saved);
    LlmPrunerModel loaded = LlmPrunerModel.load(saved);
    assertThat(loaded.uid()).isEqualTo(model.uid()).isEqualTo(pruner.uid());
    assertThat(loaded.extractParamMap().toString()).isEqualTo(model.extractParamMap().toString());
    assertThat(loaded.report()).isEqualTo(model.report());
    assertThat(loaded.transform(calibration()).collectAsList())
        .isEqualTo(model.transform(calibration()).collectAsList());
    LlmPrunerModel copy = model.copy(new ParamMap().put(model.lossCol().w("nats")));
    assertThat(copy.report()).isEqualTo(model.report());
    assertThat(copy.getLossCol()).isEqualTo("nats");
    assertThat(copy.getOutput()).isEqualTo(model.getOutput());
    assertThat(copy.parent()).isSameAs(model.parent());
    String savedPruner = temporary.resolve("saved-pruner").toString();
    pruner.save(savedPruner);
    assertThat(LlmPruner.load(savedPruner).extractParamMap().toString())
        .isEqualTo(pruner.extractParamMap().toString());
  }

  @Test
  void tellsEveryParam() {
    LlmPruner pruner = new LlmPruner();
    assertThat(NotebookSession.names(pruner))
        .containsExactly(
            "alphaFit",
            "alphaPerLinear",
            "atpBeta",
            "dlpAlpha",
            "epsilon",
            "evaluation",
            "lambda",
            "length",
            "lossCol",
            "metric",
            "model",
            "outlierThreshold",
            "output",
            "overwrite",
            "pattern",
            "propagation",
            "sampling",
            "seed",
            "sequences",
            "strategy",
            "targetSparsity",
            "textCol",
            "tokensCol");
    assertThat(NotebookSession.names(new LlmPrunerModel("uid")))
        .isEqualTo(NotebookSession.names(pruner));
    assertThat(pruner.explainParams().lines()).hasSize(NotebookSession.names(pruner).size());
  }

  @Test
  void refusesWhatDoesNotFit() throws Exception {
    assertThatThrownBy(() -> new LlmPruner("p").fit(calibration()))
        .hasMessage("Cannot use p without its model: give the checkpoint's folder with setModel");
    assertThatThrownBy(() -> pruner("x").setTokensCol("ids").fit(calibration()))
        .hasMessageContaining("it has no column 'ids' (array of int or bigint) but [tokens]");
    Dataset<Row> text = spark.range(2).selectExpr("cast(null as string) text");
    assertThatThrownBy(() -> textPruner("x").fit(text))
        .hasMessageContaining("Cannot use column text: it is null in row 0");
    assertThatThrownBy(() -> textPruner("x").fit(text.selectExpr("1 as text")))
        .hasMessage("Cannot use column 'text': it is int, not string");
    assertThatThrownBy(() -> textPruner("x").fit(text.selectExpr("'a story' as text")))
        .hasMessageContaining("has no tokenizer.json");
    assertThatThrownBy(() -> pruner("x").fit(ids(List.of())))
        .hasMessageContaining("row 0 has no token ids");
    assertThatThrownBy(() -> pruner("x").fit(ids(List.of(1L << 33))))
        .hasMessageContaining("8589934592 in row 0 is no token id");
    assertThatThrownBy(() -> pruner("x").fit(ids(List.of(99_999_999L))))
        .hasMessageContaining("99999999");
    assertThatThrownBy(() -> pruner("x").setPattern("2:4").setTargetSparsity(0.7).fit(text))
        .hasMessageContaining("Cannot use targetSparsity 0.7 with pattern 2:4");
    assertThatThrownBy(() -> pruner("x").setPattern("half"))
        .hasMessageContaining("Cannot use pattern 'half'");
    assertThatThrownBy(() -> pruner("x").setSequences(0))
        .hasMessageContaining("Cannot use sequences 0: it is at least 1");
    Files.createDirectories(temporary.resolve("full"));
    Files.writeString(temporary.resolve("full/notes.txt"), "mine");
    assertThatThrownBy(() -> pruner("full").fit(calibration())).hasMessageContaining("full");
    assertThat(temporary.resolve("x")).doesNotExist();
  }

  private LlmPruner textPruner(String name) {
    LlmPruner pruner = pruner(name);
    pruner.clear(pruner.tokensCol());
    return pruner;
  }

  private static Dataset<Row> ids(List<Long> ids) {
    return spark.createDataFrame(
        List.of(RowFactory.create((Object) ids.toArray())),
        new StructType().add("tokens", DataTypes.createArrayType(DataTypes.LongType)));
  }
}
