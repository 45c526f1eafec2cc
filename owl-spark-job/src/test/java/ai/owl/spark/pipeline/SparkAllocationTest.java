package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.AlphaPruning;
import ai.owl.allocation.Atp;
import ai.owl.allocation.Dlp;
import ai.owl.allocation.ErdosRenyi;
import ai.owl.allocation.Evidence;
import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.Global;
import ai.owl.allocation.Lamp;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.LinearProfile;
import ai.owl.allocation.OwlBounded;
import ai.owl.allocation.OwlInverse;
import ai.owl.allocation.OwlLinear;
import ai.owl.allocation.ProfileMeasurement;
import ai.owl.allocation.Rounding;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Spectrum;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.PassRecord;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.StageClock;
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What allocators are told on a cluster, and what becomes of it. */
class SparkAllocationTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static final SortedSet<Double> THRESHOLDS = new TreeSet<>(List.of(3.0, 5.0));
  private static JavaSparkContext spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = SparkForTests.start(SparkAllocationTest.class);
  }

  @AfterAll
  static void stop() {
    spark.close();
  }

  static Stream<String> models() {
    return Fixture.golden().stream().map(Fixture::toString);
  }

  @ParameterizedTest
  @MethodSource("models")
  void measuresWhatOneProcessMeasures(String name) throws Exception {
    Fixture fixture = Fixture.golden(name);
    ModelLayout model = ModelLayout.of(Checkpoint.open(STORAGE, fixture.model()));
    Set<Evidence> everything = EnumSet.allOf(Evidence.class);
    List<BlockStatistics> statistics;
    List<LayerProfile> profiles;
    List<LayerProfile> ofWeights;
    try (Passes passes =
        new Passes(spark, STORAGE, model, new StageClock(Progress.NONE), Progress.NONE, 3)) {
      statistics = passes.dense(fixture.calibration(), PassRecord.none(STORAGE));
      profiles = passes.profile(statistics, THRESHOLDS, everything);
      ofWeights =
          passes.profile(List.of(), THRESHOLDS, Set.of(Evidence.MAGNITUDES, Evidence.SPECTRA));
    }
    List<LayerProfile> expected = new ArrayList<>();
    try (TensorReader reader = new TensorReader(STORAGE)) {
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          LayerProfile profile =
              ProfileMeasurement.of(block, statistics.get(layout.index()), THRESHOLDS, everything);
          List<LinearProfile> linears = new ArrayList<>();
          for (LinearLayer linear : layout.linears()) {
            linears.add(
                profile
                    .linears()
                    .get(linears.size())
                    .withSpectrum(Spectrum.of(block.weight(linear))));
          }
          expected.add(profile.withLinears(linears));
        }
      }
    }
    assertThat(profiles).isEqualTo(expected);
    for (int b = 0; b < expected.size(); b++) {
      assertThat(ofWeights.get(b).outliers()).isEmpty();
      for (int i = 0; i < expected.get(b).linears().size(); i++) {
        LinearProfile linear = ofWeights.get(b).linears().get(i);
        assertThat(linear.magnitudes()).isEqualTo(expected.get(b).linears().get(i).magnitudes());
        assertThat(linear.spectrum()).isEqualTo(expected.get(b).linears().get(i).spectrum());
        assertThat(linear.scores().isEmpty()).isTrue();
        assertThat(linear.magnitudes().total()).isEqualTo(linear.weights());
      }
    }
  }

  static Stream<SparsityAllocator> allocators() {
    return Stream.of(
        new OwlBounded(5, 0.08),
        new OwlInverse(5, 0.08),
        new OwlLinear(5, 0.08),
        new Global(Evidence.SCORES),
        new ErdosRenyi(),
        new Lamp(),
        new AlphaPruning(AlphaFit.PEAK, 0.2, false),
        new AlphaPruning(AlphaFit.MID, 0.1, true),
        new Dlp(0.1),
        new Atp(0.05),
        new GivenRatios("mine", new TreeMap<>(Map.of("0", 0.6, "1", 0.7, "2", 0.8))));
  }

  @ParameterizedTest
  @MethodSource("allocators")
  void writesTheBytesOfTheLocalPipeline(SparsityAllocator allocator) throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    for (Pruner pruner :
        List.of(new MetricPruner(new Wanda()), new MetricPruner(new Magnitude()))) {
      PruneOptions options =
          PruneOptions.defaults(fixture.model(), output("local"))
              .withPruner(pruner)
              .withAllocator(allocator.suitedTo(pruner))
              .withOverwrite(true);
      // Whoever looks at no activations must get by without any.
      Optional<TokenSequences> calibration =
          options.needsCalibration() ? Optional.of(fixture.calibration()) : Optional.empty();
      PruneReport local =
          new LocalPipeline(STORAGE, Progress.NONE).prune(options, calibration, Optional.empty());
      PruneOptions distributed = options.withOutput(output("spark"));
      PruneReport report =
          new SparkPipeline(spark, STORAGE, Progress.NONE)
              .prune(distributed, calibration, Optional.empty());
      assertThat(Folders.digests(Path.of(distributed.output())))
          .isEqualTo(Folders.digests(Path.of(options.output())));
      assertThat(report.blocks()).isEqualTo(local.blocks());
      assertThat(report.warnings()).isEqualTo(local.warnings());
      assertThat(report.reached()).isBetween(0.67, 0.71);
    }
  }

  @Test
  void takesATaskForEachMatrixAndNoCalibrationForSpectra() throws Exception {
    Fixture fixture = Fixture.golden("llama-f32");
    List<String> jobs = new CopyOnWriteArrayList<>();
    List<Long> results = new CopyOnWriteArrayList<>();
    SparkListener listener =
        new SparkListener() {
          @Override
          public void onJobStart(SparkListenerJobStart job) {
            jobs.add(
                job.properties().getProperty("spark.job.description")
                    + " in "
                    + job.stageInfos().head().numTasks());
          }

          @Override
          public void onTaskEnd(SparkListenerTaskEnd task) {
            if (task.taskMetrics() != null) {
              results.add(task.taskMetrics().resultSize());
            }
          }
        };
    spark.sc().addSparkListener(listener);
    try {
      for (SparsityAllocator allocator :
          List.of(new AlphaPruning(AlphaFit.PEAK, 0.2, false), new Lamp())) {
        new SparkPipeline(spark, STORAGE, Progress.NONE)
            .prune(
                PruneOptions.defaults(fixture.model(), output(allocator.name()))
                    .withPruner(new MetricPruner(new Magnitude()))
                    .withAllocator(allocator),
                Optional.empty(),
                Optional.empty());
      }
    } finally {
      spark.sc().removeSparkListener(listener);
    }
    assertThat(jobs)
        .containsExactly(
            "take the spectra of 21 matrices in 21",
            "prune 3 blocks with magnitude to 0.7 in 4",
            "measure magnitudes of 3 blocks in 3",
            "prune 3 blocks with magnitude to 0.7 in 4");
    assertThat(results).isNotEmpty().allSatisfy(size -> assertThat(size).isLessThan(64_000));
  }

  /** One pass, one measuring of blocks and one of matrices serve all rows. */
  @Test
  void aSweepGathersWhatItsRowsNeedOnce() throws Exception {
    Fixture fixture = Fixture.golden("llama3-bf16");
    List<String> jobs = new CopyOnWriteArrayList<>();
    SparkListener listener =
        new SparkListener() {
          @Override
          public void onJobStart(SparkListenerJobStart job) {
            jobs.add(job.properties().getProperty("spark.job.description"));
          }
        };
    spark.sc().addSparkListener(listener);
    SweepReport sweep;
    try {
      sweep =
          new SparkPipeline(spark, STORAGE, Progress.NONE)
              .sweep(
                  new SweepOptions(
                      fixture.model(),
                      output("sweep"),
                      List.of(new SparsityPattern.Unstructured(0.6)),
                      List.of(new MetricPruner(new Magnitude()), new MetricPruner(new Wanda())),
                      List.of(
                          new Global(Evidence.SCORES),
                          new Lamp(),
                          new OwlLinear(5, 0.08),
                          new AlphaPruning(AlphaFit.MID, 0.2, false),
                          new ErdosRenyi(),
                          new Dlp(0.15)),
                      Rounding.MEAN_PRESERVING,
                      List.of(Propagation.DENSE)),
                  fixture.calibration(),
                  fixture.evaluation());
    } finally {
      spark.sc().removeSparkListener(listener);
    }
    assertThat(jobs.stream().filter("calibrate: block 2 of 0..2"::equals)).hasSize(1);
    assertThat(jobs.stream().filter("count outliers of 3 blocks"::equals)).hasSize(1);
    assertThat(jobs.stream().filter("take the spectra of 21 matrices"::equals)).hasSize(1);
    assertThat(sweep.rows()).hasSize(12);
    assertThat(sweep.rows().get(0).options().allocator())
        .isEqualTo(new Global(Evidence.MAGNITUDES));
    assertThat(sweep.rows().get(6).options().allocator()).isEqualTo(new Global(Evidence.SCORES));
    for (SweepReport.Row row : sweep.rows()) {
      PruneReport pruned =
          new LocalPipeline(STORAGE, Progress.NONE)
              .prune(
                  row.options().withOutput(output("row")).withOverwrite(true),
                  Optional.of(fixture.calibration()),
                  Optional.of(fixture.evaluation()));
      assertThat(row.pruned()).as(row.label()).isEqualTo(pruned.pruned().orElseThrow());
      assertThat(row.reached()).as(row.label()).isEqualTo(pruned.reached());
    }
  }

  private String output(String name) {
    return temporary.resolve(name).toString();
  }
}
