package ai.owl.spark.ml;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.Owl;
import ai.owl.allocation.OwlBounded;
import ai.owl.allocation.OwlInverse;
import ai.owl.allocation.Rounding;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import ai.owl.spark.pipeline.SparkPipeline;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.ml.Pipeline;
import org.apache.spark.ml.PipelineModel;
import org.apache.spark.ml.PipelineStage;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.tuning.ParamGridBuilder;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Profiler, estimator and evaluator together, as a notebook uses them. */
class PerplexityEvaluatorTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static final Fixture FIXTURE = Fixture.golden("llama-f32");
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

  private static BlockProfiler profiler() {
    return new BlockProfiler().setModel(FIXTURE.model()).setTokensCol("tokens");
  }

  private PerplexityEvaluator evaluator() {
    String tokens = FIXTURE.expected("tokens.safetensors").toString();
    return new PerplexityEvaluator()
        .setModel(FIXTURE.model())
        .setCalibration(tokens)
        .setEvaluation(tokens)
        .setOutput(temporary.resolve("evaluator").toString());
  }

  private static Dataset<Row> calibration() throws Exception {
    return NotebookSession.tokens(spark, FIXTURE.calibration().sequences());
  }

  @Test
  void aGridPicksTheWinnerOfASweep() throws Exception {
    Dataset<Row> blocks = profiler().transform(calibration());
    LayerwiseSparsity sparsity = new LayerwiseSparsity().setTargetSparsity(0.6);
    PerplexityEvaluator evaluator = evaluator();
    List<ParamMap> grid = new ArrayList<>();
    for (String strategy : List.of("owl", "owl-bounded", "owl-inverse")) {
      grid.addAll(
          List.of(
              new ParamGridBuilder()
                  .baseOn(sparsity.strategy().w(strategy))
                  .addGrid(sparsity.lambda(), new double[] {0.02, 0.15})
                  .build()));
    }
    Map<String, Double> measured = new HashMap<>();
    String winner = null;
    double best = Double.POSITIVE_INFINITY;
    for (ParamMap way : grid) {
      LayerwiseSparsityModel model = sparsity.fit(blocks, way);
      double perplexity = evaluator.evaluate(model.transform(blocks));
      String label = model.getStrategy() + " M=5 λ=" + model.getLambda();
      measured.put(label, perplexity);
      if (perplexity < best) {
        best = perplexity;
        winner = label;
      }
    }

    List<SparsityAllocator> allocators = new ArrayList<>();
    for (double lambda : new double[] {0.02, 0.15}) {
      allocators.add(new Owl(5, lambda));
      allocators.add(new OwlBounded(5, lambda));
      allocators.add(new OwlInverse(5, lambda));
    }
    SweepReport sweep =
        new SparkPipeline(
                JavaSparkContext.fromSparkContext(spark.sparkContext()), STORAGE, Progress.NONE)
            .sweep(
                new SweepOptions(
                    FIXTURE.model(),
                    temporary.resolve("sweep").toString(),
                    List.of(new SparsityPattern.Unstructured(0.6)),
                    List.of(new MetricPruner(new Wanda())),
                    allocators,
                    Rounding.MEAN_PRESERVING,
                    List.of(Propagation.SEQUENTIAL)),
                FIXTURE.calibration(),
                FIXTURE.evaluation());
    Map<String, Double> expected = new HashMap<>();
    for (SweepReport.Row row : sweep.rows()) {
      expected.put(row.options().allocator().label(), row.pruned().value());
    }
    assertThat(measured).hasSize(6).isEqualTo(expected);
    assertThat(expected.values()).as("one winner").containsOnlyOnce(best);
    assertThat(winner).isEqualTo(sweep.best(0.6).orElseThrow().options().allocator().label());
    assertThat(evaluator.isLargerBetter()).isFalse();
  }

  @Test
  void everyMetricGivesThePerplexityOfTheCheckpointThatWouldBeWritten() throws Exception {
    Dataset<Row> blocks = profiler().transform(calibration());
    Dataset<Row> sparsities = new LayerwiseSparsity().setLambda(0.1).fit(blocks).transform(blocks);
    PruneOptions options =
        PruneOptions.defaults(FIXTURE.model(), temporary.resolve("pruned").toString())
            .withAllocator(new Owl(5, 0.1))
            .withOverwrite(true)
            .withPropagation(Propagation.DENSE);
    PerplexityEvaluator evaluator = evaluator().setPropagation("dense");
    assertThat(evaluator.evaluate(sparsities)).isEqualTo(pruned(options));
    assertThat(evaluator.setMetric("sparsegpt").evaluate(sparsities))
        .isEqualTo(pruned(options.withPruner(new SparseGpt())));
    assertThat(evaluator.evaluate(sparsities, new ParamMap().put(evaluator.metric().w("wanda"))))
        .isEqualTo(pruned(options));
    try (Stream<Path> files = Files.walk(temporary.resolve("evaluator"))) {
      assertThat(files).noneMatch(file -> file.toString().endsWith(".safetensors"));
    }
  }

  private static double pruned(PruneOptions options) throws Exception {
    PruneReport report =
        new LocalPipeline(STORAGE, Progress.NONE)
            .prune(options, Optional.of(FIXTURE.calibration()), Optional.of(FIXTURE.evaluation()));
    return report.pruned().orElseThrow().value();
  }

  @Test
  void theProfileIsWhatTheAllocatorsOfARunSee() throws Exception {
    Dataset<Row> measured = profiler().setThresholds(3, 5, 7, 10).transform(calibration());
    assertThat(measured.schema())
        .isEqualTo(profiler().transformSchema(calibration().schema()))
        .isEqualTo(BlockTable.SCHEMA);
    PruneOptions options =
        PruneOptions.defaults(FIXTURE.model(), temporary.resolve("run").toString());
    PruneReport report =
        new LocalPipeline(STORAGE, Progress.NONE)
            .prune(options, Optional.of(FIXTURE.calibration()), Optional.empty());
    List<LayerProfile> profiles = report.blocks().stream().map(PruneReport.Block::profile).toList();
    Dataset<Row> ofReport = BlockTable.ofReport(spark, options.output());
    List<Row> rows = measured.collectAsList();
    List<Row> reported = ofReport.collectAsList();
    assertThat(rows).hasSameSizeAs(profiles);
    for (int i = 0; i < rows.size(); i++) {
      assertThat(rows.get(i).getInt(0)).isEqualTo(i);
      assertThat(rows.get(i).getLong(1)).isEqualTo(profiles.get(i).weights());
      assertThat(rows.get(i).<Double, Long>getJavaMap(2)).isEqualTo(profiles.get(i).outliers());
      assertThat(rows.get(i).getDouble(3)).isPositive();
      assertThat(reported.get(i).getJavaMap(2)).isEqualTo(rows.get(i).getJavaMap(2));
      assertThat(reported.get(i).isNullAt(3)).isTrue();
    }
    List<Double> sparsities = report.blocks().stream().map(PruneReport.Block::sparsity).toList();
    assertThat(new LayerwiseSparsity().fit(ofReport).allocation().sparsities())
        .isEqualTo(sparsities);
    assertThatThrownBy(() -> new LayerwiseSparsity().setStrategy("dlp").fit(ofReport))
        .hasMessage("Cannot use column 'scoreSum': it is null for block 0");
  }

  @Test
  void profilerAndEstimatorMakeAPipeline() throws Exception {
    BlockProfiler profiler = profiler();
    PipelineStage[] stages = {profiler, new LayerwiseSparsity().setStrategy("dlp")};
    PipelineModel pipeline = new Pipeline().setStages(stages).fit(calibration());
    String saved = temporary.resolve("pipeline").toString();
    pipeline.save(saved);
    List<Row> rows = PipelineModel.load(saved).transform(calibration()).collectAsList();
    assertThat(rows).isEqualTo(pipeline.transform(calibration()).collectAsList());
    List<LayerProfile> profiles =
        new SparkPipeline(
                JavaSparkContext.fromSparkContext(spark.sparkContext()), STORAGE, Progress.NONE)
            .profile(
                FIXTURE.model(),
                FIXTURE.calibration(),
                new java.util.TreeSet<>(List.of(5.0)),
                java.util.Set.of(Evidence.SCORE_SUMS));
    List<Double> expected = new ai.owl.allocation.Dlp(0.15).allocate(profiles, 0.7).sparsities();
    assertThat(rows.stream().map(row -> row.<Double>getAs("sparsity")).toList())
        .isEqualTo(expected);
  }

  @Test
  void survivesSavingAndLoading() throws Exception {
    PerplexityEvaluator evaluator = evaluator().setMetric("ria").setSeed(1L << 40).setLength(99);
    String saved = temporary.resolve("saved-evaluator").toString();
    evaluator.save(saved);
    PerplexityEvaluator loaded = PerplexityEvaluator.load(saved);
    assertThat(loaded.uid()).isEqualTo(evaluator.uid());
    String addresses = "@\\p{XDigit}+"; // Spark shows no more of a list
    assertThat(loaded.explainParams().replaceAll(addresses, ""))
        .isEqualTo(evaluator.explainParams().replaceAll(addresses, ""));
    assertThat(loaded.getCalibration()).isEqualTo(evaluator.getCalibration());
    assertThat(loaded.getSeed()).isEqualTo(1L << 40);
    BlockProfiler profiler = profiler().setThresholds(2, 4.5);
    String savedProfiler = temporary.resolve("saved-profiler").toString();
    profiler.save(savedProfiler);
    assertThat(BlockProfiler.load(savedProfiler).getThresholds()).containsExactly(2, 4.5);
    assertThat(BlockProfiler.load(savedProfiler).getModel()).isEqualTo(FIXTURE.model());
  }

  @Test
  void tellsEveryParam() {
    assertThat(NotebookSession.names(evaluator()))
        .containsExactly(
            "blockCol",
            "calibration",
            "evaluation",
            "length",
            "metric",
            "model",
            "output",
            "propagation",
            "sampling",
            "seed",
            "sequences",
            "sparsityCol");
    assertThat(NotebookSession.names(profiler()))
        .containsExactly(
            "length",
            "model",
            "sampling",
            "seed",
            "sequences",
            "textCol",
            "thresholds",
            "tokensCol");
  }

  @Test
  void refusesWhatDoesNotFit() throws Exception {
    Dataset<Row> blocks = profiler().transform(calibration());
    Dataset<Row> sparsities = blocks.withColumn("sparsity", functions.lit(0.5));
    assertThatThrownBy(() -> evaluator().evaluate(blocks))
        .hasMessageContaining("it has no column 'sparsity' (double)");
    assertThatThrownBy(() -> evaluator().evaluate(sparsities.filter("block < 2")))
        .hasMessageContaining("Cannot use the 2 ratios of column sparsity for a model of 3 blocks")
        .hasMessageContaining("there is none for block 2");
    assertThatThrownBy(
            () -> evaluator().evaluate(blocks.withColumn("sparsity", functions.lit(1.0))))
        .hasMessageContaining("must be in [0, 1)");
    PerplexityEvaluator without = new PerplexityEvaluator("e").setModel(FIXTURE.model());
    assertThatThrownBy(() -> without.evaluate(sparsities))
        .hasMessage("Cannot use e without its output: give a folder of its own with setOutput");
    assertThatThrownBy(() -> evaluator().setMetric("best"))
        .hasMessageContaining("Cannot use metric 'best': it is one of wanda, sparsegpt");
    assertThatThrownBy(() -> profiler().setThresholds())
        .hasMessageContaining("Cannot use thresholds []");
    assertThatThrownBy(() -> new BlockProfiler("p").setTokensCol("tokens").transform(calibration()))
        .hasMessage("Cannot use p without its model: give the checkpoint's folder with setModel");
    Path noReport = Files.createDirectories(temporary.resolve("none/_owl"));
    Files.writeString(noReport.resolve("report.json"), "{}");
    assertThatThrownBy(() -> BlockTable.ofReport(spark, temporary.resolve("none").toString()))
        .hasMessageContaining("it is no report of a run, since it has no blocks");
  }
}
