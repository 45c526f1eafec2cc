package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.owl.allocation.Rounding;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.RecordSource;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.model.ModelConfig;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparsityPattern;
import ai.owl.spark.report.ReportTable;
import ai.owl.zeroshot.Scoring;
import ai.owl.zeroshot.TaskMetric;
import ai.owl.zeroshot.TaskResult;
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotResults;
import ai.owl.zeroshot.ZeroShotTask;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The seven tasks with the demo's model, on the few items in {@code zero-shot}: both pipelines
 * against what lm-evaluation-harness found through transformers ({@code zero-shot/generate.py}).
 */
class ZeroShotTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static JavaSparkContext spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = SparkForTests.start(ZeroShotTest.class);
  }

  @AfterAll
  static void stop() {
    spark.close();
  }

  /** float32 there and here; the model's weights are bfloat16. */
  @Test
  void findsWhatLmEvalFinds() throws IOException {
    TaskSuite suite = suite(Scoring.LM_EVAL, 300);
    List<double[]> found =
        new LocalPipeline(STORAGE, Progress.NONE).logProbabilities(model(), suite);
    JsonNode expected =
        new JsonMapper().readTree(folder("/zero-shot").resolve("expected.json").toFile());
    int items = 0;
    for (String line : suite.samples(found).lines().toList()) {
      JsonNode sample = new JsonMapper().readTree(line);
      JsonNode likelihoods =
          expected
              .path(sample.path("task").asText())
              .path("logLikelihoods")
              .path(sample.path("item").asInt());
      assertThat(sample.path("scores")).hasSameSizeAs(likelihoods).isNotEmpty();
      for (int choice = 0; choice < likelihoods.size(); choice++) {
        assertThat(sample.path("scores").get(choice).asDouble())
            .as("choice %d of %s", choice, line)
            .isCloseTo(likelihoods.get(choice).asDouble(), within(5e-4));
      }
      items++;
    }
    assertThat(items).isEqualTo(suite.items()).isEqualTo(22);
    for (TaskResult task : suite.results(found).tasks()) {
      for (TaskMetric metric : TaskMetric.values()) {
        JsonNode value = expected.path(task.task()).path(metric.label());
        assertThat(task.estimate(metric).isPresent()).isEqualTo(!value.isMissingNode());
        task.estimate(metric)
            .ifPresent(
                estimate -> {
                  assertThat(estimate.value()).isCloseTo(value.asDouble(), within(1e-12));
                  assertThat(estimate.standardError())
                      .isCloseTo(
                          expected.path(task.task()).path(metric.label() + "_stderr").asDouble(),
                          within(1e-12));
                });
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 50})
  void sparkFindsTheSameBits(int partitions) throws IOException {
    for (Scoring scoring : Scoring.values()) {
      TaskSuite suite = suite(scoring, 200);
      assertThat(suite.sequences().count()).isGreaterThan(5);
      List<double[]> local =
          new LocalPipeline(STORAGE, Progress.NONE).logProbabilities(model(), suite);
      List<double[]> distributed =
          new SparkPipeline(spark, STORAGE, Progress.NONE, partitions)
              .logProbabilities(model(), suite);
      assertThat(distributed).hasSameSizeAs(local);
      for (int batch = 0; batch < local.size(); batch++) {
        assertThat(distributed.get(batch)).isEqualTo(local.get(batch));
      }
      assertThat(suite.results(distributed)).isEqualTo(suite.results(local));
    }
  }

  /** Before and after pruning; a sweep's row is what pruning gives. */
  @Test
  void comparesDenseAndPruned() throws IOException {
    TaskSuite suite = suite(Scoring.LM_EVAL, 300);
    PruneOptions options =
        new PruneOptions(
            model(),
            temporary.resolve("local").toString(),
            new SparsityPattern.Unstructured(0.6),
            new MetricPruner(new Magnitude()),
            new Uniform(),
            Rounding.MEAN_PRESERVING,
            Propagation.SEQUENTIAL,
            false);
    PruneReport local =
        new LocalPipeline(STORAGE, Progress.NONE)
            .withTasks(suite)
            .prune(options, Optional.empty(), Optional.empty());
    SparkPipeline pipeline = new SparkPipeline(spark, STORAGE, Progress.NONE).withTasks(suite);
    PruneReport distributed =
        pipeline.prune(
            options.withOutput(temporary.resolve("spark").toString()),
            Optional.empty(),
            Optional.empty());
    ZeroShotResults dense = suite.results(pipeline.logProbabilities(model(), suite));
    ZeroShotResults pruned = suite.results(pipeline.logProbabilities(options.output(), suite));
    assertThat(pruned).isNotEqualTo(dense);
    for (PruneReport report : List.of(local, distributed)) {
      assertThat(report.dense()).isEmpty();
      assertThat(report.denseTasks()).contains(dense);
      assertThat(report.prunedTasks()).contains(pruned);
      assertThat(report.toJson().path("zeroShot").path("pruned")).isEqualTo(pruned.toJson());
    }
    assertThat(ReportTable.of(local))
        .contains("acc dense", "acc_norm pruned")
        .contains(String.format(Locale.ROOT, "%.4f", pruned.mean()));

    SweepOptions ways =
        new SweepOptions(
            model(),
            temporary.resolve("sweep").toString(),
            List.of(options.pattern()),
            List.of(options.pruner()),
            List.of(options.allocator()),
            Rounding.MEAN_PRESERVING,
            List.of(Propagation.SEQUENTIAL));
    TokenSequences tokens = TokenSequences.of(List.of(new int[] {0, 5, 9, 300, 7}));
    SweepReport sweep = pipeline.sweep(ways, tokens, tokens);
    assertThat(sweep.denseTasks()).containsExactly(dense);
    assertThat(sweep.rows().get(0).tasks()).containsExactly(pruned);
    assertThat(pipeline.sweep(ways, tokens, tokens).rows()).isEqualTo(sweep.rows());
    assertThat(ReportTable.of(sweep))
        .contains("mean acc of 7 tasks, 0-shot, scoring lm-eval")
        .contains(String.format(Locale.ROOT, "%.4f", pruned.mean()));
    // Rows that were tried at other tasks are others.
    assertThatThrownBy(
            () ->
                new SparkPipeline(spark, STORAGE, Progress.NONE)
                    .withTasks(suite(Scoring.OWL, 300))
                    .sweep(ways, tokens, tokens))
        .hasMessageContaining("it holds a sweep of another model or with other tokens");
  }

  private static TaskSuite suite(Scoring scoring, int batchTokens) throws IOException {
    ModelConfig config = ModelLayout.of(Checkpoint.open(STORAGE, model())).config();
    try (TextTokenizer tokenizer = TextTokenizer.load(STORAGE, model())) {
      return TaskSuite.read(
          ZeroShotTask.KNOWN.stream()
              .map(
                  task ->
                      new TaskSuite.Source(
                          task,
                          List.of(
                              RecordSource.of(
                                  STORAGE,
                                  folder("/zero-shot")
                                      .resolve(task.name() + ".jsonl")
                                      .toString()))))
              .toList(),
          new TaskSuite.Options(scoring, 0, batchTokens),
          config,
          tokenizer,
          OptionalInt.of(0));
    }
  }

  private static String model() {
    return folder("/sample/model").toString();
  }

  private static Path folder(String resource) {
    try {
      return Path.of(ZeroShotTest.class.getResource(resource).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }
}
