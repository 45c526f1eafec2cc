package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.allocation.Rounding;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.ImageSamples;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.Accuracy;
import ai.owl.image.ImageFolder;
import ai.owl.image.ImagePreprocessor;
import ai.owl.model.ModelLayout;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pruning.ComparisonGroup;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Ria;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import ai.owl.pruning.WandaVariant;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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

/**
 * The Spark pipeline must write what the local one writes, however it is cut and whatever fails
 * once.
 */
class SparkPipelineTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static JavaSparkContext spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    // Two slots, three attempts a task.
    spark = new JavaSparkContext(SparkForTests.conf(SparkPipelineTest.class, "local[2,3]"));
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
  void writesTheBytesOfTheLocalPipeline(String name) throws Exception {
    Fixture fixture = Fixture.golden(name);
    PruneOptions owl = PruneOptions.defaults(fixture.model(), "unused");
    for (PruneOptions options : List.of(owl, owl.withAllocator(new Uniform()))) {
      for (Propagation propagation : Propagation.values()) {
        requireTheSame(fixture, options.withPropagation(propagation));
      }
      requireTheSame(fixture, options.withPruner(new MetricPruner(new Magnitude())));
    }
  }

  private void requireTheSame(Fixture fixture, PruneOptions options) throws Exception {
    PruneOptions here = options.withOverwrite(true).withOutput(output("local"));
    PruneOptions there = options.withOverwrite(true).withOutput(output("spark"));
    PruneReport local =
        new LocalPipeline(STORAGE, Progress.NONE)
            .prune(here, Optional.of(fixture.calibration()), Optional.of(fixture.evaluation()));
    PruneReport report =
        new SparkPipeline(spark, STORAGE, Progress.NONE)
            .prune(there, Optional.of(fixture.calibration()), Optional.of(fixture.evaluation()));
    assertThat(Folders.digests(Path.of(there.output())))
        .isEqualTo(Folders.digests(Path.of(here.output())));
    assertThat(report.blocks()).isEqualTo(local.blocks());
    assertThat(report.pruned()).isEqualTo(local.pruned());
    assertThat(report.dense()).isEqualTo(local.dense());
    assertThat(report.fingerprint()).isEqualTo(local.fingerprint());
  }

  /** Every way of choosing weights, with enough sequences for several groups of them. */
  static Stream<PruneOptions> ways() {
    PruneOptions options = PruneOptions.defaults("model", "output");
    PruneOptions twoOfFour = options.withPattern(new SparsityPattern.NofM(2, 4));
    PruneOptions uniform = options.withAllocator(new Uniform());
    return Stream.of(
        options.withPruner(new SparseGpt()),
        options.withPruner(new SparseGpt(0.05, 16)).withPropagation(Propagation.DENSE),
        uniform.withPruner(new SparseGpt()),
        twoOfFour.withPruner(new SparseGpt()),
        options,
        twoOfFour,
        twoOfFour.withPattern(new SparsityPattern.NofM(5, 8)).withRounding(Rounding.PUBLISHED),
        twoOfFour.withPruner(new MetricPruner(new Magnitude())),
        options.withPruner(new MetricPruner(new Ria())),
        options.withPruner(new MetricPruner(new Ria(), ComparisonGroup.ROW)),
        options.withPruner(new MetricPruner(new Wanda(), ComparisonGroup.MATRIX)),
        options.withPruner(new WandaVariant()));
  }

  @ParameterizedTest
  @MethodSource("ways")
  void everyWayWritesTheBytesOfTheLocalPipelineForAnyNumberOfPartitions(PruneOptions way)
      throws Exception {
    Fixture fixture = Fixture.golden("llama3-bf16");
    TokenSequences uneven = unevenSequences(fixture);
    PruneOptions options = way.withModel(fixture.model());
    PruneReport local =
        new LocalPipeline(STORAGE, Progress.NONE)
            .prune(
                options.withOutput(output("local")),
                Optional.of(uneven),
                Optional.of(fixture.evaluation()));
    for (int partitions : new int[] {1, 2, 5}) {
      PruneOptions distributed = options.withOutput(output("spark" + partitions));
      PruneReport report =
          new SparkPipeline(spark, STORAGE, Progress.NONE, partitions)
              .prune(distributed, Optional.of(uneven), Optional.of(fixture.evaluation()));
      assertThat(Folders.digests(Path.of(distributed.output())))
          .isEqualTo(Folders.digests(Path.of(output("local"))));
      assertThat(report.blocks()).isEqualTo(local.blocks());
      assertThat(report.pruned()).isEqualTo(local.pruned());
    }
  }

  /** A vision transformer: images instead of tokens, accuracy instead of perplexity. */
  @ParameterizedTest
  @MethodSource("ways")
  void prunesAModelOfImagesAsTheLocalPipeline(PruneOptions way) throws Exception {
    Path folder =
        Path.of(System.getProperty("owl.golden")).resolveSibling("golden-images/vit-bf16");
    String model = folder.resolve("model").toString();
    List<String> labels = ModelLayout.of(Checkpoint.open(STORAGE, model)).config().labels();
    ImageSamples images =
        new ImageSamples(
            STORAGE,
            ImageFolder.open(STORAGE, folder.resolve("images").toString(), labels),
            ImagePreprocessor.open(STORAGE, model));
    PruneOptions options = way.withModel(model);
    PruneReport local =
        new LocalPipeline(STORAGE, Progress.NONE)
            .prune(options.withOutput(output("local")), Optional.of(images), Optional.of(images));
    for (int partitions : new int[] {1, 5}) {
      PruneOptions distributed = options.withOutput(output("spark" + partitions));
      PruneReport report =
          new SparkPipeline(spark, STORAGE, Progress.NONE, partitions)
              .prune(distributed, Optional.of(images), Optional.of(images));
      assertThat(Folders.digests(Path.of(distributed.output())))
          .isEqualTo(Folders.digests(Path.of(output("local"))));
      assertThat(report.blocks()).isEqualTo(local.blocks());
      assertThat(report.dense()).isEqualTo(local.dense()).get().isInstanceOf(Accuracy.class);
      assertThat(report.pruned()).isEqualTo(local.pruned());
    }
  }

  @Test
  void refusesWhatTheModelDoesNotRead() throws Exception {
    Path folder =
        Path.of(System.getProperty("owl.golden")).resolveSibling("golden-images/vit-bf16");
    Fixture text = Fixture.golden("llama-f32");
    SparkPipeline pipeline = new SparkPipeline(spark, STORAGE, Progress.NONE);
    PruneOptions options =
        PruneOptions.defaults(folder.resolve("model").toString(), output("never"));
    assertThatThrownBy(
            () -> pipeline.prune(options, Optional.of(text.calibration()), Optional.empty()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot run token ids through ViTForImageClassification: it reads images; give it a"
                + " folder of images");
    ImageSamples images =
        new ImageSamples(
            STORAGE,
            ImageFolder.open(STORAGE, folder.resolve("images/owl").toString(), List.of("owl")),
            ImagePreprocessor.open(STORAGE, options.model()));
    assertThatThrownBy(
            () ->
                pipeline.prune(
                    options.withModel(text.model()), Optional.of(images), Optional.empty()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use images for calibration: LlamaForCausalLM reads token ids; give it text");
    assertThatThrownBy(() -> pipeline.evaluate(options.model(), images))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("has no label");
    assertThat(Path.of(options.output())).doesNotExist();
  }

  /** Sequences of different lengths, more of them than partitions. */
  private static TokenSequences unevenSequences(Fixture fixture) throws Exception {
    List<int[]> sequences = new ArrayList<>();
    for (int length = 5; length < 25; length += 4) {
      for (int[] ids : fixture.calibration().sequences()) {
        sequences.add(java.util.Arrays.copyOf(ids, length));
      }
    }
    return TokenSequences.of(sequences);
  }

  @Test
  void aTaskThatFailsOnceLeavesNoTrace() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    Map<String, String> undisturbed =
        prune(fixture, fixture.calibration(), STORAGE, 3, "undisturbed");
    // Every shard breaks off once while it is written, and every weight file is away once.
    Storage failing = new FailingOnceStorage("/disturbed/model-", "/model-0000");
    assertThat(prune(fixture, fixture.calibration(), failing, 3, "disturbed"))
        .isEqualTo(undisturbed);
    assertThat(FailingOnceStorage.failures()).isGreaterThan(4);
  }

  @Test
  void aSolvingTaskThatFailsOnceLeavesNoTrace() throws Exception {
    Fixture fixture = Fixture.golden("mistral-bf16");
    PruneOptions options =
        PruneOptions.defaults(fixture.model(), output("solved")).withPruner(new SparseGpt());
    new SparkPipeline(spark, STORAGE, Progress.NONE, 3)
        .prune(options, Optional.of(unevenSequences(fixture)), Optional.empty());
    PruneOptions disturbed = options.withOutput(output("unsolved"));
    // One layer of every input, so that no task fails as often as Spark gives a job up for.
    String oneOfEach = "/parts/model.layers.*[.](v|o|gate|down)_proj";
    new SparkPipeline(spark, new FailingOnceStorage(oneOfEach, "/model-0000"), Progress.NONE, 3)
        .prune(disturbed, Optional.of(unevenSequences(fixture)), Optional.empty());
    assertThat(FailingOnceStorage.failures())
        .isGreaterThanOrEqualTo(12); // four inputs, three blocks
    assertThat(Folders.digests(Path.of(disturbed.output())))
        .isEqualTo(Folders.digests(Path.of(options.output())));
    assertThat(Path.of(disturbed.output()).resolve("_owl/parts")).doesNotExist();
  }

  @Test
  void whatKeepsFailingIsReportedAndLeavesNoCheckpoint() throws Exception {
    Fixture fixture = Fixture.golden("llama-f32");
    Path broken = temporary.resolve("broken");
    Files.createDirectories(broken);
    try (Stream<Path> files = Files.list(Path.of(fixture.model()))) {
      for (Path file : files.toList()) {
        Files.copy(file, broken.resolve(file.getFileName()));
      }
    }
    var tensor =
        Fixture.tensor(broken.resolve("model.safetensors"), "model.layers.2.mlp.up_proj.weight");
    byte[] bytes = Files.readAllBytes(broken.resolve("model.safetensors"));
    bytes[(int) tensor.position() + 2] = (byte) 0xc0;
    bytes[(int) tensor.position() + 3] = 0x7f; // a NaN
    Files.write(broken.resolve("model.safetensors"), bytes);
    PruneOptions options = PruneOptions.defaults(broken.toString(), output("never"));
    assertThatThrownBy(
            () ->
                new SparkPipeline(spark, STORAGE, Progress.NONE)
                    .prune(options, Optional.of(fixture.calibration()), Optional.empty()))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining("model.layers.2.mlp.up_proj.weight")
        .hasMessageContaining("NaN");
    assertThat(Path.of(options.output())).doesNotExist();
  }

  @Test
  void evaluatesWhatTheLocalPipelineEvaluates() throws Exception {
    Fixture fixture = Fixture.golden("llama-linear-f16");
    assertThat(
            new SparkPipeline(spark, STORAGE, Progress.NONE)
                .evaluate(fixture.model(), fixture.evaluation()))
        .isEqualTo(
            new LocalPipeline(STORAGE, Progress.NONE)
                .evaluate(fixture.model(), fixture.evaluation()));
  }

  @Test
  void namesItsJobsAndSendsTheDriverNothingLargerThanStatistics() throws Exception {
    Fixture fixture = Fixture.golden("llama-f32");
    List<String> jobs = new CopyOnWriteArrayList<>();
    List<Long> results = new CopyOnWriteArrayList<>();
    SparkListener listener =
        new SparkListener() {
          @Override
          public void onJobStart(SparkListenerJobStart job) {
            jobs.add(job.properties().getProperty("spark.job.description"));
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
      prune(fixture, fixture.calibration(), STORAGE, 2, "named");
    } finally {
      spark.sc().removeSparkListener(listener);
    }
    assertThat(jobs)
        .contains(
            "calibrate: block 0 of 0..2",
            "count outliers of 3 blocks",
            "propagate: block 2 of 0..2",
            "prune 3 blocks with wanda to 0.7");
    assertThat(results).isNotEmpty().allSatisfy(size -> assertThat(size).isLessThan(32_000));
  }

  @Test
  void runsThroughAHundredBlocks() throws Exception {
    // Each step's RDD descends from the one before it: a deep model must not overflow a stack.
    Fixture fixture = Fixture.golden("llama-f32");
    Path deep = DeepModel.repeatBlocks(fixture, 100, temporary.resolve("deep"));
    PruneOptions options =
        PruneOptions.defaults(deep.toString(), output("deep-pruned"))
            .withPruner(new MetricPruner(new Magnitude()));
    TokenSequences tokens = TokenSequences.of(fixture.calibration().sequences().subList(0, 2));
    PruneReport report =
        new SparkPipeline(spark, STORAGE, Progress.NONE)
            .prune(options, Optional.of(tokens), Optional.empty());
    assertThat(report.blocks()).hasSize(100);
  }

  private Map<String, String> prune(
      Fixture fixture, TokenSequences tokens, Storage storage, int partitions, String name)
      throws Exception {
    PruneOptions options = PruneOptions.defaults(fixture.model(), output(name));
    new SparkPipeline(spark, storage, Progress.NONE, partitions)
        .prune(options, Optional.of(tokens), Optional.empty());
    return Folders.digests(Path.of(options.output()));
  }

  private String output(String name) {
    return temporary.resolve(name).toString();
  }
}
