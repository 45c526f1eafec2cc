package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.AlphaPruning;
import ai.owl.allocation.Dlp;
import ai.owl.allocation.Evidence;
import ai.owl.allocation.Global;
import ai.owl.allocation.Lamp;
import ai.owl.allocation.Owl;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.PruneRun;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.Wanda;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is kept of the dense model must change nothing but the time a run takes. */
class StatisticsStoreTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static final Fixture FIXTURE = Fixture.golden("llama3-bf16");
  private static JavaSparkContext spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = SparkForTests.start(StatisticsStoreTest.class);
  }

  @AfterAll
  static void stop() {
    spark.close();
  }

  /** Remembers the stages that begin. */
  private static final class Stages implements Progress {
    final List<String> begun = new ArrayList<>();

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

  private String store() {
    return temporary.resolve("statistics").toString();
  }

  private PruneOptions options(String name) {
    return PruneOptions.defaults(FIXTURE.model(), temporary.resolve(name).toString());
  }

  /** With the store and without: the same bytes; returns the stages of the run with it. */
  private List<String> pruneBothWays(
      PruneOptions options, Optional<TokenSequences> calibration, boolean grams) throws Exception {
    PruneOptions alone = options.withOutput(options.output() + "-alone");
    PruneReport expected =
        new SparkPipeline(spark, STORAGE, Progress.NONE)
            .prune(alone, Optional.of(FIXTURE.calibration()), Optional.empty());
    Stages stages = new Stages();
    PruneReport report =
        new SparkPipeline(spark, STORAGE, stages)
            .withStatistics(store(), grams)
            .prune(options, calibration, Optional.empty());
    assertThat(Folders.digests(Path.of(options.output())))
        .isEqualTo(Folders.digests(Path.of(alone.output())));
    assertThat(report.fingerprint()).isEqualTo(expected.fingerprint());
    assertThat(report.sequences()).isEqualTo(expected.sequences());
    return stages.begun;
  }

  @Test
  void aRunThatFindsStatisticsMakesNoPassThroughTheDenseModel() throws Exception {
    Optional<TokenSequences> tokens = Optional.of(FIXTURE.calibration());
    PruneOptions first = options("first");
    assertThat(pruneBothWays(first, tokens, false)).contains(PruneRun.CALIBRATE, PruneRun.PROFILE);
    // Another M, λ and sparsity, of the thresholds that are always counted.
    assertThat(
            pruneBothWays(
                options("second").withAllocator(new Owl(7, 0.05)).withSparsity(0.5), tokens, false))
        .doesNotContain(PruneRun.CALIBRATE, PruneRun.PROFILE)
        .contains(PruneRun.PROPAGATE);
    // Statistics are all that Wanda needs then, so nobody has to give tokens.
    assertThat(
            pruneBothWays(
                options("third").withPropagation(Propagation.DENSE), Optional.empty(), false))
        .doesNotContain(PruneRun.CALIBRATE, PruneRun.PROFILE, PruneRun.PROPAGATE);
    // A threshold that was not counted takes a scan of the weights, but no pass.
    assertThat(pruneBothWays(options("fourth").withAllocator(new Owl(3.5, 0.05)), tokens, false))
        .doesNotContain(PruneRun.CALIBRATE)
        .contains(PruneRun.PROFILE);
    assertThat(StatisticsStore.open(STORAGE, store()).thresholds()).contains(3.5, 7.0);
  }

  @Test
  void everyAllocationIsMadeFromWhatIsKept() throws Exception {
    SparkPipeline pipeline =
        new SparkPipeline(spark, STORAGE, Progress.NONE).withStatistics(store(), false);
    StatisticsStore whole = pipeline.calibrate(FIXTURE.model(), FIXTURE.calibration(), true);
    assertThat(whole.lacks(EnumSet.allOf(Evidence.class), new TreeSet<>())).isEmpty();
    StatisticsStore read = StatisticsStore.open(STORAGE, store());
    assertThat(read.profiles()).isEqualTo(whole.profiles());
    assertThat(read.norms()).hasSameSizeAs(whole.norms());
    int number = 0;
    for (SparsityAllocator allocator :
        List.<SparsityAllocator>of(
            new Dlp(0.15),
            new Lamp(),
            new Global(Evidence.SCORES),
            new AlphaPruning(AlphaFit.PEAK, 0.1, false))) {
      assertThat(
              pruneBothWays(
                  options("way" + number++)
                      .withAllocator(allocator)
                      .withSparsity(0.5)
                      .withPropagation(Propagation.DENSE),
                  Optional.empty(),
                  false))
          .as(allocator.label())
          .doesNotContain(PruneRun.CALIBRATE, PruneRun.PROFILE, PruneRun.PROPAGATE);
    }
  }

  /** Spectra added to what is there; and the other way round, tokens to spectra. */
  @Test
  void whatIsMissingIsAdded() throws Exception {
    PruneOptions alpha =
        options("alpha")
            .withAllocator(new AlphaPruning(AlphaFit.PEAK, 0.1, false))
            .withSparsity(0.5);
    Optional<TokenSequences> tokens = Optional.of(FIXTURE.calibration());
    pruneBothWays(alpha.withPropagation(Propagation.SEQUENTIAL), tokens, false);
    StatisticsStore spectra = StatisticsStore.open(STORAGE, store());
    assertThat(spectra.tokens()).isEmpty();
    pruneBothWays(options("owl"), tokens, false);
    StatisticsStore both = StatisticsStore.open(STORAGE, store());
    assertThat(both.tokens()).isPresent();
    assertThat(both.lacks(EnumSet.allOf(Evidence.class), new TreeSet<>())).isEmpty();
    assertThat(both.profiles().get(1).linears().get(2).spectrum())
        .isEqualTo(spectra.profiles().get(1).linears().get(2).spectrum());
  }

  @Test
  void gramMatricesOfTheDenseModelServeEverySparsity() throws Exception {
    Optional<TokenSequences> tokens = Optional.of(FIXTURE.calibration());
    PruneOptions dense =
        options("dense").withPruner(new SparseGpt()).withPropagation(Propagation.DENSE);
    assertThat(pruneBothWays(dense, tokens, true)).contains(PruneRun.PROPAGATE);
    assertThat(
            pruneBothWays(
                dense.withOutput(temporary.resolve("again").toString()).withSparsity(0.5),
                Optional.empty(),
                false))
        .doesNotContain(PruneRun.CALIBRATE, PruneRun.PROFILE, PruneRun.PROPAGATE);
    // Behind pruned blocks, activations are others.
    assertThat(
            pruneBothWays(
                dense
                    .withOutput(temporary.resolve("sequential").toString())
                    .withPropagation(Propagation.SEQUENTIAL),
                tokens,
                false))
        .contains(PruneRun.PROPAGATE);
  }

  /** Nothing is asked of the dense model, and nothing is known of it. */
  @Test
  void anAllocationThatMeasuresNothingDoesNotMindAnEmptyStore() throws Exception {
    pruneBothWays(
        options("uniform").withAllocator(new Uniform()), Optional.of(FIXTURE.calibration()), false);
  }

  @Test
  void statisticsOfSomethingElseAreRefusedByName() throws Exception {
    pruneBothWays(options("first"), Optional.of(FIXTURE.calibration()), false);
    Fixture other = Fixture.golden("llama-f32");
    SparkPipeline pipeline =
        new SparkPipeline(spark, STORAGE, Progress.NONE).withStatistics(store(), false);
    assertThatThrownBy(
            () ->
                pipeline.prune(
                    options("other").withModel(other.model()),
                    Optional.of(other.calibration()),
                    Optional.empty()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use --statistics "
                + store()
                + ": they were made for another checkpoint, "
                + FIXTURE.model()
                + "; give another folder");
    assertThatThrownBy(
            () ->
                pipeline.prune(
                    options("other"), Optional.of(FIXTURE.evaluation()), Optional.empty()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(
            "they were made with other calibration tokens (4 sequences, 96 tokens");
    assertThat(temporary.resolve("other")).doesNotExist();
  }

  /** They would be gone with the notes of the run. */
  @Test
  void statisticsAmongTheNotesOfARunAreRefused() {
    PruneOptions options = options("out");
    String inside = options.output() + "/./_owl/statistics";
    assertThatThrownBy(
            () ->
                new SparkPipeline(spark, STORAGE, Progress.NONE)
                    .withStatistics(inside, false)
                    .prune(options, Optional.of(FIXTURE.calibration()), Optional.empty()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot write to "
                + options.output()
                + ": the folder of --statistics lies in "
                + options.output()
                + "/_owl, where the run keeps its notes; give another --output");
    assertThat(temporary.resolve("out")).doesNotExist();
  }

  @Test
  void damagedStatisticsAreRefused() throws Exception {
    pruneBothWays(options("first"), Optional.of(FIXTURE.calibration()), false);
    Path linears = Path.of(store(), "linears.parquet");
    byte[] whole = Files.readAllBytes(linears);
    for (int size : new int[] {0, 5, whole.length / 2, whole.length - 1}) {
      Files.write(linears, java.util.Arrays.copyOf(whole, size));
      assertThatThrownBy(() -> StatisticsStore.open(STORAGE, store()))
          .as("%d bytes", size)
          .isInstanceOf(MalformedCheckpointException.class)
          .hasMessageStartingWith("Cannot ")
          .hasMessageContaining(linears.toString())
          .hasMessageNotContaining("[B@");
    }
    Files.write(linears, whole);
    Files.writeString(Path.of(store(), "statistics.json"), "{\"format\": 2}");
    assertThatThrownBy(() -> StatisticsStore.open(STORAGE, store()))
        .hasMessageContaining("its format is 2, not 1");
    Path foreign = temporary.resolve("foreign");
    Files.createDirectories(foreign);
    Files.writeString(foreign.resolve("thesis.txt"), "years of work");
    assertThatThrownBy(() -> StatisticsStore.open(STORAGE, foreign.toString()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("there is something in it that is no statistics");
  }

  @Test
  void aRunWithoutTokensSaysWhatItLacks() throws Exception {
    pruneBothWays(
        options("alone")
            .withPruner(new MetricPruner(new Wanda()))
            .withAllocator(new AlphaPruning(AlphaFit.PEAK, 0.1, false))
            .withSparsity(0.5),
        Optional.of(FIXTURE.calibration()),
        false);
    assertThatThrownBy(
            () ->
                new SparkPipeline(spark, STORAGE, Progress.NONE)
                    .withStatistics(store(), false)
                    .prune(options("never"), Optional.empty(), Optional.empty()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("without calibration data: give --calibration");
  }
}
