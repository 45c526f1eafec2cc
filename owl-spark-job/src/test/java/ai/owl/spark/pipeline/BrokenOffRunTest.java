package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorRef;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.RunStatus;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Wherever a run is broken off, the same run goes on from there, and writes the same bytes. */
class BrokenOffRunTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static JavaSparkContext spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = SparkForTests.start(BrokenOffRunTest.class);
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
        owl.withPruner(new SparseGpt()),
        owl.withPruner(new SparseGpt()).withPropagation(Propagation.DENSE),
        owl.withPruner(new MetricPruner(new Magnitude())));
  }

  /** Of all files that a run writes one after the other, each is once the last. */
  @ParameterizedTest
  @MethodSource("ways")
  void goesOnFromWhereItEnded(PruneOptions way) throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = way.withModel(fixture.model()).withOutput(output("undisturbed"));
    StorageWithAnEnd counting = new StorageWithAnEnd(Integer.MAX_VALUE);
    PruneReport report = prune(fixture, options, counting, Progress.NONE);
    Map<String, String> undisturbed = Folders.digests(Path.of(options.output()));
    int files = StorageWithAnEnd.begun();
    assertThat(files).isGreaterThan(10);
    PruneOptions again = options.withOutput(output("again"));
    int brokenOff = 0;
    for (int last = 2; last < files - 2; last += 5) { // the last two are the report, written twice
      StorageWithAnEnd ending = new StorageWithAnEnd(last);
      assertThatThrownBy(() -> prune(fixture, again, ending, Progress.NONE))
          .hasMessageContaining("the machine is gone");
      brokenOff++;
      requireNothingThatLooksWhole(again, undisturbed);
      // What a driver that is killed cannot take away any more is not missed either.
      assertThat(prune(fixture, again, STORAGE, Progress.NONE).blocks()).isEqualTo(report.blocks());
      assertThat(Folders.digests(Path.of(again.output())))
          .as("after %d files", last)
          .isEqualTo(undisturbed);
      STORAGE.delete(again.output());
    }
    assertThat(brokenOff).isGreaterThan(2);
  }

  private static void requireNothingThatLooksWhole(
      PruneOptions options, Map<String, String> undisturbed) throws Exception {
    if (Files.exists(Path.of(options.output(), "model.safetensors.index.json"))) {
      assertThat(Folders.digests(Path.of(options.output()))).isEqualTo(undisturbed);
    } else {
      assertThatThrownBy(() -> Checkpoint.open(STORAGE, options.output()))
          .isInstanceOf(MalformedCheckpointException.class);
    }
  }

  /** A run that is broken off again and again, each time one file later, comes to its end. */
  @ParameterizedTest
  @MethodSource("ways")
  void comesToItsEndInSmallSteps(PruneOptions way) throws Exception {
    Fixture fixture = Fixture.golden("llama3-bf16");
    PruneOptions options = way.withModel(fixture.model()).withOutput(output("undisturbed"));
    prune(fixture, options, STORAGE, Progress.NONE);
    PruneOptions again = options.withOutput(output("again"));
    int tries = 0;
    for (boolean done = false; !done; tries++) {
      assertThat(tries).as("each try comes further").isLessThan(20);
      try {
        // Room for the parts of a block, or the hidden states of all sequences, but not for more.
        prune(fixture, again, new StorageWithAnEnd(16), Progress.NONE);
        done = true;
      } catch (IOException | RuntimeException brokenOff) {
        assertThat(brokenOff).hasMessageContaining("the machine is gone");
      }
    }
    assertThat(tries).isGreaterThan(1);
    assertThat(Folders.digests(Path.of(again.output())))
        .isEqualTo(Folders.digests(Path.of(options.output())));
  }

  @Test
  void doesNotMakeAgainWhatIsThere() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = PruneOptions.defaults(fixture.model(), output("out"));
    PruneReport first = prune(fixture, options, STORAGE, Progress.NONE);
    List<String> told = new ArrayList<>();
    PruneReport second = prune(fixture, options, STORAGE, telling(told::add));
    assertThat(told)
        .containsExactly(
            "say: "
                + options.output()
                + " is what this run would write: it is not made again (--overwrite would)",
            "begin: allocate",
            "warn: sparsities lie in [0.6169, 0.7769], 2 lambda wide as published, but not centred"
                + " on 0.7");
    assertThat(second.blocks()).isEqualTo(first.blocks());
    assertThat(second.dense()).isEqualTo(first.dense());
    assertThat(second.pruned()).isEqualTo(first.pruned());
    RunStatus status = RunStatus.of(STORAGE, options.output());
    assertThat(status.isDone()).isTrue();
    assertThat(status.holder()).isEmpty();
    assertThat(status.runs()).hasSize(1);
    assertThat(status.runs().get(0).shards()).isEqualTo(status.runs().get(0).blocks() + 1);
  }

  /**
   * A process that sleeps while it measures, as long as a lease, wakes up in another run's output.
   */
  @Test
  void reportsNothingOfAnOutputThatAnotherRunHasTakenOver() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = PruneOptions.defaults(fixture.model(), output("out"));
    Path lock = Path.of(options.output(), "_owl", "lock.json");
    Path report = Path.of(options.output(), "_owl", "report.json");
    List<String> reports = new ArrayList<>();
    String other =
        "{\"run\": \"other\", \"host\": \"elsewhere\", \"process\": 1, \"processStarted\": 1,"
            + " \"started\": \"2026-01-01T00:00:00Z\", \"beat\": \"2026-01-01T00:00:00Z\"}";
    List<String> told = new ArrayList<>();
    Progress progress =
        telling(
            message -> {
              told.add(message);
              if (message.equals("say: perplexity of the pruned model")) {
                try {
                  reports.add(Files.readString(report));
                  Files.writeString(lock, other);
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              }
            });
    assertThatThrownBy(
            () ->
                new SparkPipeline(spark, STORAGE, progress, 3)
                    .prune(
                        options,
                        Optional.of(fixture.calibration()),
                        Optional.of(fixture.evaluation()),
                        written -> told.add("other reports")))
        .hasMessageContaining("another run has begun to write there");
    assertThat(told)
        .contains("say: perplexity of the pruned model")
        .doesNotContain("other reports");
    assertThat(report).hasContent(reports.get(0));
    assertThat(lock).hasContent(other);
    assertThat(RunStatus.of(STORAGE, options.output()).isDone()).isFalse();
  }

  /** Asked for less than it has, a finished run keeps what it has. */
  @Test
  void keepsTheReportWhereNothingIsMeasuredAgain() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = PruneOptions.defaults(fixture.model(), output("out"));
    prune(fixture, options, STORAGE, Progress.NONE);
    String report = Files.readString(Path.of(options.output(), "_owl", "report.json"));
    List<String> others = new ArrayList<>();
    new SparkPipeline(spark, STORAGE, Progress.NONE, 3)
        .prune(
            options,
            Optional.of(fixture.calibration()),
            Optional.empty(),
            written -> others.add("written"));
    assertThat(others).isEmpty();
    assertThat(Path.of(options.output(), "_owl", "report.json")).hasContent(report);
    assertThat(RunStatus.of(STORAGE, options.output()).isDone()).isTrue();
  }

  @Test
  void isNotDoneBeforeItsReportIs() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = PruneOptions.defaults(fixture.model(), output("out"));
    StorageWithAnEnd ending = new StorageWithAnEnd("/_owl/report.json");
    assertThatThrownBy(() -> prune(fixture, options, ending, Progress.NONE))
        .hasMessageContaining("the machine is gone");
    RunStatus status = RunStatus.of(STORAGE, options.output());
    assertThat(status.whole()).isTrue();
    assertThat(status.isDone()).isFalse();
    prune(fixture, options, STORAGE, Progress.NONE);
    assertThat(RunStatus.of(STORAGE, options.output()).isDone()).isTrue();
  }

  @Test
  void mendsACheckpointWhoseOtherFilesAreDamaged() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = PruneOptions.defaults(fixture.model(), output("out"));
    PruneReport first = prune(fixture, options, STORAGE, Progress.NONE);
    Path out = Path.of(options.output());
    Map<String, String> undisturbed = Folders.digests(out);
    Files.delete(out.resolve("config.json"));
    Files.write(out.resolve("model.safetensors.index.json"), new byte[0]);
    assertThat(RunStatus.of(STORAGE, options.output()).whole()).isFalse();
    List<String> told = new ArrayList<>();
    PruneReport second = prune(fixture, options, STORAGE, telling(told::add));
    assertThat(told)
        .contains(
            "warn: "
                + out.resolve("model.safetensors.index.json")
                + " is not what this run writes: the checkpoint is published anew, from its shards")
        .contains("begin: commit")
        .doesNotContain("begin: calibrate", "begin: propagate", "begin: prune");
    assertThat(Folders.digests(out)).isEqualTo(undisturbed);
    assertThat(second.blocks()).isEqualTo(first.blocks());
    assertThat(RunStatus.of(STORAGE, options.output()).isDone()).isTrue();
  }

  @Test
  void skipsBlocksWhoseHiddenStatesItKept() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = PruneOptions.defaults(fixture.model(), output("out"));
    // The first pass is done, and the second has kept the states before block 1.
    String states = "/pruned/before-block-00001/complete";
    StorageWithAnEnd ending = new StorageWithAnEnd(states);
    assertThatThrownBy(() -> prune(fixture, options, ending, Progress.NONE))
        .hasMessageContaining("the machine is gone");
    RunStatus status = RunStatus.of(STORAGE, options.output());
    assertThat(status.whole()).isFalse();
    assertThat(status.runs().get(0).denseModel()).isTrue();
    assertThat(status.runs().get(0).passes())
        .containsExactly(new RunStatus.Pass("dense", 3, 2), new RunStatus.Pass("pruned", 2, 1));
    List<String> told = new ArrayList<>();
    prune(fixture, options, STORAGE, telling(told::add));
    assertThat(told)
        .containsSubsequence(
            "say: going on with a run that was broken off: 0 of 4 shards are written",
            "begin: propagate",
            "step: known",
            "step: block 1",
            "step: block 2",
            "begin: prune")
        .doesNotContain("begin: calibrate", "step: block 0 of propagate");
    assertThat(Path.of(options.output(), "_owl", status.runs().get(0).fingerprint(), "passes"))
        .doesNotExist();
  }

  /** Damages what a run has left. */
  private interface Damage {
    void to(Path run) throws IOException;
  }

  static Stream<Named<Damage>> damages() {
    String state = "passes/pruned/before-block-00001/hidden-states-000002.safetensors";
    return Stream.of(
        Named.of("a state is missing", run -> Files.delete(run.resolve(state))),
        Named.of("a state is cut off", run -> cut(run.resolve(state))),
        Named.of("a state is empty", run -> Files.write(run.resolve(state), new byte[0])),
        Named.of("a state is a folder", run -> makeFolder(run.resolve(state))),
        Named.of(
            "a result is cut off", run -> cut(run.resolve("passes/pruned/blocks/block-00000"))),
        Named.of("a folder is a result", run -> makeFolder(run.resolve("results/dense-model"))),
        Named.of("the dense model is cut off", run -> cut(run.resolve("results/dense-model"))));
  }

  private static void cut(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, Arrays.copyOf(bytes, bytes.length - 5));
  }

  private static void makeFolder(Path file) throws IOException {
    Files.delete(file);
    Files.createDirectory(file);
    Files.write(file.resolve("x"), new byte[1]);
  }

  /** What is kept saves time; a run comes to the same end without it. */
  @ParameterizedTest
  @MethodSource("damages")
  void findsOutAnewWhatItCannotUse(Damage damage) throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options = PruneOptions.defaults(fixture.model(), output("undisturbed"));
    prune(fixture, options, STORAGE, Progress.NONE);
    PruneOptions again = options.withOutput(output("again"));
    StorageWithAnEnd ending = new StorageWithAnEnd("/pruned/before-block-00001/complete");
    assertThatThrownBy(() -> prune(fixture, again, ending, Progress.NONE))
        .hasMessageContaining("the machine is gone");
    damage.to(run(again));
    List<String> told = new ArrayList<>();
    prune(fixture, again, STORAGE, telling(told::add));
    assertThat(told)
        .contains("say: going on with a run that was broken off: 0 of 4 shards are written")
        .filteredOn(message -> message.contains("cannot be used: "))
        .hasSize(1);
    assertThat(Folders.digests(Path.of(again.output())))
        .isEqualTo(Folders.digests(Path.of(options.output())));
  }

  private static Path run(PruneOptions options) throws IOException {
    String fingerprint = RunStatus.of(STORAGE, options.output()).runs().get(0).fingerprint();
    return Path.of(options.output(), "_owl", fingerprint);
  }

  @Test
  void prunesAnewABlockWhosePartsItCannotUse() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options =
        PruneOptions.defaults(fixture.model(), output("undisturbed")).withPruner(new SparseGpt());
    prune(fixture, options, STORAGE, Progress.NONE);
    PruneOptions again = options.withOutput(output("again"));
    StorageWithAnEnd ending = new StorageWithAnEnd("/pruned/before-block-00002/complete");
    assertThatThrownBy(() -> prune(fixture, again, ending, Progress.NONE))
        .hasMessageContaining("the machine is gone");
    String parts = run(again).resolve("parts").toString();
    String part =
        STORAGE.list(parts).stream()
            .filter(name -> name.contains("layers.1.mlp.down_proj"))
            .findFirst()
            .orElseThrow();
    cut(Path.of(parts, part));
    List<String> told = new ArrayList<>();
    prune(fixture, again, STORAGE, telling(told::add));
    assertThat(told).anyMatch(message -> message.endsWith(" its block is pruned anew"));
    assertThat(Folders.digests(Path.of(again.output())))
        .isEqualTo(Folders.digests(Path.of(options.output())));
  }

  /** They are to be of all blocks, not only of those that were left to do. */
  @Test
  void keepsTheGramMatricesOfBlocksThatWereDoneWithout() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options =
        PruneOptions.defaults(fixture.model(), output("out"))
            .withPruner(new SparseGpt())
            .withPropagation(Propagation.DENSE);
    StorageWithAnEnd ending = new StorageWithAnEnd("/pruned/before-block-00002/complete");
    assertThatThrownBy(() -> prune(fixture, options, ending, Progress.NONE))
        .hasMessageContaining("the machine is gone");
    String statistics = output("statistics");
    SparkPipeline keeping =
        new SparkPipeline(spark, STORAGE, Progress.NONE, 3)
            .withCheckpointInterval(1)
            .withStatistics(statistics, true);
    StorageWithAnEnd first = new StorageWithAnEnd("/blocks/block-00000");
    assertThatThrownBy(
            () ->
                new SparkPipeline(spark, first, Progress.NONE, 3)
                    .withCheckpointInterval(1)
                    .withStatistics(statistics, true)
                    .prune(options, Optional.of(fixture.calibration()), Optional.empty()))
        .hasMessageContaining("the machine is gone");
    keeping.prune(options, Optional.of(fixture.calibration()), Optional.empty());
    assertThat(StatisticsStore.open(STORAGE, statistics).hasGrams()).isTrue();
    assertThat(STORAGE.list(statistics + "/grams"))
        .extracting(name -> name.substring(0, "block-00000".length()))
        .contains("block-00000", "block-00001", "block-00002");
    PruneOptions other = options.withOutput(output("other")).withSparsity(0.5);
    keeping.prune(other, Optional.of(fixture.calibration()), Optional.empty());
    PruneOptions alone = other.withOutput(output("alone"));
    prune(fixture, alone, STORAGE, Progress.NONE);
    assertThat(Folders.digests(Path.of(other.output())))
        .isEqualTo(Folders.digests(Path.of(alone.output())));
  }

  /** Half of each would be the checkpoint of neither. */
  @Test
  void doesNotGoOnWithAModelThatWasChangedInPlace() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    String model = output("model");
    for (String name : STORAGE.list(fixture.model())) {
      STORAGE.writeAll(
          Storage.resolve(model, name),
          STORAGE.readAll(Storage.resolve(fixture.model(), name), 1 << 30));
    }
    PruneOptions options = PruneOptions.defaults(model, output("out"));
    StorageWithAnEnd ending = new StorageWithAnEnd("/pruned/before-block-00001/complete");
    assertThatThrownBy(() -> prune(fixture, options, ending, Progress.NONE))
        .hasMessageContaining("the machine is gone");
    TensorRef changed =
        Checkpoint.open(STORAGE, model).tensors().values().stream()
            .max(Comparator.comparingLong(TensorRef::bytes))
            .orElseThrow();
    String digest = Checkpoint.open(STORAGE, model).digest();
    byte[] bytes = STORAGE.readAll(changed.file(), 1 << 30);
    bytes[(int) changed.position()]++;
    STORAGE.writeAll(changed.file(), bytes);
    assertThat(Checkpoint.open(STORAGE, model).digest()).isEqualTo(digest);
    assertThatThrownBy(() -> prune(fixture, options, STORAGE, Progress.NONE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(
            "began there before that model's files were written; give --overwrite");
    prune(fixture, options.withOverwrite(true), STORAGE, Progress.NONE);
    bytes[(int) changed.position()]++;
    STORAGE.writeAll(changed.file(), bytes);
    assertThatThrownBy(() -> prune(fixture, options, STORAGE, Progress.NONE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("began there before that model's files were written");
  }

  private static PruneReport prune(
      Fixture fixture, PruneOptions options, Storage storage, Progress progress)
      throws IOException {
    return new SparkPipeline(spark, storage, progress, 3)
        .withCheckpointInterval(1)
        .prune(options, Optional.of(fixture.calibration()), Optional.of(fixture.evaluation()));
  }

  private String output(String name) {
    return temporary.resolve(name).toString();
  }

  private static Progress telling(Consumer<String> told) {
    return new Progress() {
      @Override
      public void begin(String stage, int steps) {
        told.accept("begin: " + stage);
      }

      @Override
      public void step(String what) {
        told.accept("step: " + what);
      }

      @Override
      public void say(String message) {
        told.accept("say: " + message);
      }

      @Override
      public void warn(String message) {
        told.accept("warn: " + message);
      }
    };
  }

  /**
   * Local files of a machine that is gone after a number of them: from then on nothing is written,
   * and nothing removed.
   */
  private static final class StorageWithAnEnd implements Storage {
    private static final long serialVersionUID = 1;
    private static final AtomicInteger BEGUN = new AtomicInteger(); // of all copies, in all tasks
    private static volatile boolean gone;

    private final LocalStorage files = new LocalStorage();
    private final int last;
    private final String lastName;

    StorageWithAnEnd(int last) {
      this(last, "");
    }

    /** Gone once a file of that name is there. */
    StorageWithAnEnd(String lastName) {
      this(Integer.MAX_VALUE, lastName);
    }

    private StorageWithAnEnd(int last, String lastName) {
      this.last = last;
      this.lastName = lastName;
      BEGUN.set(0);
      gone = false;
    }

    static int begun() {
      return BEGUN.get();
    }

    private boolean isGone() {
      return gone || BEGUN.get() > last;
    }

    @Override
    public Reader open(String location) throws IOException {
      return files.open(location);
    }

    @Override
    public FileStream create(String location) throws IOException {
      BEGUN.incrementAndGet();
      if (isGone()) {
        throw new IOException("the machine is gone before " + location);
      }
      FileStream stream = files.create(location);
      return new FileStream() {
        @Override
        public void write(int b) throws IOException {
          stream.write(b);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
          stream.write(bytes, offset, length);
        }

        @Override
        public void close() throws IOException {
          stream.close();
          if (!lastName.isEmpty() && location.endsWith(lastName)) {
            gone = true;
            throw new IOException("the machine is gone after " + location);
          }
        }

        @Override
        public void abort() {
          stream.abort();
        }
      };
    }

    @Override
    public String stamp(String location) throws IOException {
      return files.stamp(location);
    }

    @Override
    public List<String> list(String folder) throws IOException {
      return files.list(folder);
    }

    @Override
    public boolean exists(String location) throws IOException {
      return files.exists(location);
    }

    @Override
    public boolean isFolder(String location) throws IOException {
      return files.isFolder(location);
    }

    @Override
    public void delete(String location) throws IOException {
      // The lock's process is the test's own, and so far from dead.
      if (!isGone() || location.endsWith("lock.json")) {
        files.delete(location);
      }
    }
  }
}
