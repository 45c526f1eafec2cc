package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.allocation.Uniform;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.model.ModelLayout;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.planning.Cluster;
import ai.owl.planning.MachineRates;
import ai.owl.planning.RunPlan;
import ai.owl.planning.RunPlanner;
import ai.owl.planning.StagePlan;
import ai.owl.planning.Workload;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What is planned must be what runs: as many jobs, as many tasks. */
class PlannedJobsTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static JavaSparkContext spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = SparkForTests.start(PlannedJobsTest.class);
  }

  @AfterAll
  static void stop() {
    spark.close();
  }

  static Stream<PruneOptions> ways() {
    PruneOptions owl = PruneOptions.defaults("model", "output");
    return Stream.of(
        owl,
        owl.withPropagation(Propagation.DENSE),
        owl.withAllocator(new Uniform()),
        owl.withPruner(new SparseGpt()),
        owl.withPruner(new SparseGpt()).withAllocator(new Uniform()),
        owl.withPruner(new SparseGpt()).withPropagation(Propagation.DENSE),
        owl.withPruner(new MetricPruner(new Magnitude())).withAllocator(new Uniform()));
  }

  @ParameterizedTest
  @MethodSource("ways")
  void runsAsManyJobsAndTasksAsPlanned(PruneOptions way) throws Exception {
    Fixture fixture = Fixture.golden("llama-f32");
    PruneOptions options =
        way.withModel(fixture.model()).withOutput(temporary.resolve("out").toString());
    AtomicInteger jobs = new AtomicInteger();
    AtomicInteger tasks = new AtomicInteger();
    SparkListener counts =
        new SparkListener() {
          @Override
          public void onJobStart(SparkListenerJobStart start) {
            jobs.incrementAndGet();
          }

          @Override
          public void onTaskEnd(SparkListenerTaskEnd end) {
            tasks.incrementAndGet();
          }
        };
    spark.sc().addSparkListener(counts);
    new SparkPipeline(spark, STORAGE, Progress.NONE)
        .prune(options, Optional.of(fixture.calibration()), Optional.of(fixture.evaluation()));
    spark.sc().listenerBus().waitUntilEmpty();
    spark.sc().removeSparkListener(counts);

    Workload workload =
        new Workload(fixture.calibration().count(), 64, fixture.evaluation().count(), false);
    RunPlan plan =
        RunPlanner.plan(
            ModelLayout.of(Checkpoint.open(STORAGE, fixture.model())),
            options,
            workload,
            new Cluster(1, 2, 1),
            anyRates());
    assertThat(jobs.get()).isEqualTo(plan.stages().stream().mapToInt(StagePlan::jobCount).sum());
    assertThat(tasks.get()).isEqualTo(plan.stages().stream().mapToLong(StagePlan::taskCount).sum());
  }

  /** Tasks of a stage with fewer of them than slots use the cores that would stay idle. */
  @ParameterizedTest
  @CsvSource({
    "1, 1, 2, 2",
    "2, 1, 2, 1",
    "3, 1, 8, 2",
    "8, 1, 2, 1",
    "16, 16, 16, 16",
    "17, 16, 16, 8",
    "128, 16, 16, 2",
    "1000, 16, 16, 1",
    "5, 8, 4, 4"
  })
  void tasksUseAsManyThreadsAsPlanned(int tasks, int executors, int cores, int threads) {
    assertThat(ExecutorBlocks.threads(tasks, executors, cores)).isEqualTo(threads);
    assertThat(new Cluster(executors, cores, 1).threads(tasks)).isEqualTo(threads);
  }

  private static MachineRates anyRates() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    for (RecordComponent component : MachineRates.class.getRecordComponents()) {
      if (component.getType() == double.class) {
        json.put(component.getName(), 1e9);
      }
    }
    return MachineRates.of(json, "test");
  }
}
