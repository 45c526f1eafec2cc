package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.allocation.Owl;
import ai.owl.allocation.Rounding;
import ai.owl.allocation.Uniform;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import ai.owl.spark.report.SweepTable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SparkSweepTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static JavaSparkContext spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = SparkForTests.start(SparkSweepTest.class);
  }

  @AfterAll
  static void stop() {
    spark.close();
  }

  /** Notes the stages. */
  private static final class Stages implements Progress {
    private final List<String> begun = new ArrayList<>();

    @Override
    public void begin(String stage, int steps) {
      begun.add(stage);
    }

    @Override
    public void step(String what) {}

    @Override
    public void say(String message) {}

    @Override
    public void warn(String message) {}
  }

  @Test
  void everyRowIsWhatPruningAndEvaluatingGives() throws Exception {
    Fixture fixture = Fixture.golden("llama-f32");
    Stages stages = new Stages();
    SweepReport sweep =
        new SparkPipeline(spark, STORAGE, stages)
            .sweep(options(fixture), fixture.calibration(), fixture.evaluation());
    assertThat(stages.begun)
        .as("the dense pass is shared")
        .containsOnlyOnce("calibrate", "profile");
    // 3 patterns x 2 allocations x (wanda and sparsegpt x 2 propagations + magnitude)
    assertThat(sweep.rows()).hasSize(30);
    int number = 0;
    for (SweepReport.Row row : sweep.rows()) {
      PruneOptions options =
          row.options().withOutput(temporary.resolve("prune-" + number++).toString());
      PruneReport pruned =
          new LocalPipeline(STORAGE, Progress.NONE)
              .prune(
                  options, Optional.of(fixture.calibration()), Optional.of(fixture.evaluation()));
      assertThat(row.pruned()).as(row.label()).isEqualTo(pruned.pruned().orElseThrow());
      assertThat(row.reached()).isEqualTo(pruned.reached());
      assertThat(sweep.dense()).isEqualTo(pruned.dense().orElseThrow());
    }
    assertThat(sweep.best(0.7).orElseThrow().pruned().value())
        .isEqualTo(
            sweep.rows().stream()
                .filter(row -> row.options().sparsity() == 0.7)
                .mapToDouble(row -> row.pruned().value())
                .min()
                .orElseThrow());
    checkParquet(sweep);
    assertThat(temporary.resolve("sweep/_owl/parts")).isEmptyDirectory();
  }

  private void checkParquet(SweepReport sweep) throws Exception {
    Path file = temporary.resolve("sweep.parquet");
    Files.write(file, SweepTable.parquet(sweep));
    try (ParquetReader<Group> rows =
        ParquetReader.builder(
                new GroupReadSupport(), new org.apache.hadoop.fs.Path(file.toString()))
            .build()) {
      for (SweepReport.Row row : sweep.rows()) {
        Group group = rows.read();
        assertThat(group.getString("metric", 0)).isEqualTo(row.options().pruner().name());
        assertThat(group.getDouble("perplexity", 0)).isEqualTo(row.pruned().value());
        assertThat(group.getGroup("block_sparsities", 0).getFieldRepetitionCount("list"))
            .isEqualTo(row.blocks().size());
      }
      assertThat(rows.read()).isNull();
    }
  }

  @Test
  void aSweepThatIsStartedAgainMeasuresNothingTwice() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    SweepOptions part =
        new SweepOptions(
            fixture.model(),
            temporary.resolve("sweep").toString(),
            List.of(new SparsityPattern.Unstructured(0.5)),
            List.of(new MetricPruner(new Wanda())),
            List.of(new Owl(5, 0.08)),
            Rounding.MEAN_PRESERVING,
            List.of(Propagation.SEQUENTIAL));
    SweepReport first =
        new SparkPipeline(spark, STORAGE, Progress.NONE)
            .sweep(part, fixture.calibration(), fixture.evaluation());
    Stages stages = new Stages();
    SweepReport second =
        new SparkPipeline(spark, STORAGE, stages)
            .sweep(part, fixture.calibration(), fixture.evaluation());
    assertThat(stages.begun).isEmpty();
    assertThat(second.rows()).isEqualTo(first.rows());
    assertThat(second.dense()).isEqualTo(first.dense());
  }

  @Test
  void whatCannotBeAllocatedIsLeftOutAndSaid() throws Exception {
    Fixture fixture = Fixture.golden("llama-f32");
    SweepReport sweep =
        new SparkPipeline(spark, STORAGE, Progress.NONE)
            .sweep(
                new SweepOptions(
                    fixture.model(),
                    temporary.resolve("impossible").toString(),
                    List.of(new SparsityPattern.Unstructured(0.9)),
                    List.of(new MetricPruner(new Magnitude())),
                    List.of(new Owl(5, 0.4), new Uniform()),
                    Rounding.MEAN_PRESERVING,
                    List.of(Propagation.DENSE)),
                fixture.calibration(),
                fixture.evaluation());
    assertThat(sweep.rows()).hasSize(1);
    assertThat(sweep.warnings())
        .anySatisfy(warning -> assertThat(warning).contains("left out", "--lambda 0.4"));
  }

  @Test
  void anEmptyGridIsRefused() {
    assertThatThrownBy(
            () ->
                new SweepOptions(
                    "m", "o", List.of(), List.of(), List.of(), Rounding.PUBLISHED, List.of()))
        .hasMessageContaining("Cannot sweep an empty grid");
  }

  private SweepOptions options(Fixture fixture) {
    return new SweepOptions(
        fixture.model(),
        temporary.resolve("sweep").toString(),
        List.of(
            new SparsityPattern.Unstructured(0.5),
            new SparsityPattern.Unstructured(0.7),
            new SparsityPattern.NofM(2, 4)),
        List.of(new MetricPruner(new Wanda()), new MetricPruner(new Magnitude()), new SparseGpt()),
        List.of(new Uniform(), new Owl(5, 0.08)),
        Rounding.MEAN_PRESERVING,
        List.of(Propagation.SEQUENTIAL, Propagation.DENSE));
  }
}
