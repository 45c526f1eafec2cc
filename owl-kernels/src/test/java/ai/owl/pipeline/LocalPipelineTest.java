package ai.owl.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.owl.allocation.Owl;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.kernel.ZeroCount;
import ai.owl.model.BlockLayout;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.model.SampleModel;
import ai.owl.oracle.Fixture;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class LocalPipelineTest {
  private static final PruneOptions OPTIONS =
      PruneOptions.defaults("model", "out").withSparsity(0.6).withAllocator(new Owl(2, 0.1));
  private static final PruneOptions DATA_FREE =
      OPTIONS.withPruner(new MetricPruner(new Magnitude())).withAllocator(new Uniform());
  private static final Optional<TokenSequences> NONE = Optional.empty();

  private final MemoryStorage storage = new MemoryStorage();
  private final SampleModel sample = new SampleModel(3, 1).as(DType.BF16);
  private final Optional<TokenSequences> calibration = sequences(9, 12, 5, 31);
  private final Optional<TokenSequences> evaluation = sequences(8, 8);

  private static Optional<TokenSequences> sequences(int... lengths) {
    Random random = new Random(lengths.length);
    List<int[]> sequences = new ArrayList<>();
    for (int length : lengths) {
      sequences.add(random.ints(length, 0, 40).toArray());
    }
    return Optional.of(TokenSequences.of(sequences));
  }

  private PruneReport prune(PruneOptions options) throws IOException {
    return prune(options, calibration, NONE);
  }

  private PruneReport prune(
      PruneOptions options, Optional<TokenSequences> seen, Optional<TokenSequences> windows)
      throws IOException {
    return new LocalPipeline(storage, Progress.NONE).prune(options, seen, windows);
  }

  /** What lies under the output, but for what a run tells of itself. */
  private TreeMap<String, byte[]> output() {
    TreeMap<String, byte[]> files = new TreeMap<>();
    storage.files.forEach(
        (location, bytes) -> {
          if (location.startsWith("out/") && !location.startsWith("out/_owl/")) {
            files.put(location, bytes);
          }
        });
    return files;
  }

  private static void assertSame(Map<String, byte[]> found, Map<String, byte[]> expected) {
    assertThat(found.keySet()).isEqualTo(expected.keySet());
    expected.forEach((name, bytes) -> assertThat(found.get(name)).as(name).isEqualTo(bytes));
  }

  @Test
  void writesACheckpointInShardsByBlock() throws IOException {
    sample.write(storage, "model");
    prune(OPTIONS);
    assertThat(output().keySet())
        .containsExactly(
            "out/config.json",
            "out/generation_config.json",
            "out/model-00001-of-00004.safetensors",
            "out/model-00002-of-00004.safetensors",
            "out/model-00003-of-00004.safetensors",
            "out/model-00004-of-00004.safetensors",
            "out/model.safetensors.index.json");
    assertThat(storage.list("out/_owl")).hasSize(2).last().isEqualTo("report.json");
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, "out"));
    for (BlockLayout block : model.blocks()) {
      assertThat(block.tensors())
          .extracting(TensorRef::file)
          .containsOnly("out/model-0000" + (block.index() + 2) + "-of-00004.safetensors");
    }
    assertThat(model.outside())
        .extracting(TensorRef::file)
        .containsOnly("out/model-00001-of-00004.safetensors");
  }

  @Test
  void reportsWhatIsInTheFiles() throws IOException {
    sample.write(storage, "model");
    PruneReport report = prune(OPTIONS, calibration, evaluation);
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, "out"));
    long zeros = 0;
    double mean = 0;
    try (TensorReader reader = new TensorReader(storage)) {
      for (BlockLayout layout : model.blocks()) {
        PruneReport.Block block = report.blocks().get(layout.index());
        mean += block.sparsity() / 3;
        long inBlock = 0;
        for (int l = 0; l < layout.linears().size(); l++) {
          LinearLayer linear = layout.linears().get(l);
          PrunedLinear entry = block.linears().get(l);
          assertThat(entry.name()).isEqualTo(linear.name());
          assertThat(entry.sparsity()).isEqualTo(block.sparsity());
          try (Matrix weight = reader.readMatrix(linear.weight())) {
            assertThat(entry.weights()).isEqualTo(weight.size());
            assertThat(entry.zeros()).isEqualTo(ZeroCount.of(weight));
            int perRow = (int) (weight.cols() * block.sparsity());
            assertThat(entry.zeros()).isEqualTo(perRow * weight.rows());
          }
          inBlock += entry.zeros();
        }
        assertThat(block.weights()).isEqualTo(layout.prunableWeights());
        assertThat(block.zeros()).isEqualTo(inBlock);
        assertThat(block.reached()).isEqualTo((double) inBlock / layout.prunableWeights());
        zeros += inBlock;
      }
    }
    assertThat(mean).isCloseTo(0.6, within(1e-12));
    assertThat(report.weights()).isEqualTo(model.prunableWeights());
    assertThat(report.zeros()).isEqualTo(zeros);
    assertThat(report.reached()).isEqualTo((double) zeros / model.prunableWeights());
    assertThat(report.architecture()).isEqualTo("LlamaForCausalLM");
    assertThat(report.sequences()).isEqualTo(4);
    assertThat(report.tokens()).isEqualTo(57);
    assertThat(report.fingerprint()).matches("[0-9a-f]{32}");
    assertThat(report.seconds())
        .containsOnlyKeys("calibrate", "allocate", "prune", "commit", "evaluate");
    LocalPipeline pipeline = new LocalPipeline(storage, Progress.NONE);
    assertThat(report.dense()).contains(pipeline.evaluate("model", evaluation.orElseThrow()));
    assertThat(report.pruned()).contains(pipeline.evaluate("out", evaluation.orElseThrow()));
    assertThat(report.dense()).isNotEqualTo(report.pruned());
  }

  @Test
  void leavesTheReportBesideTheCheckpoint() throws IOException {
    sample.write(storage, "model");
    PruneReport report = prune(OPTIONS, calibration, evaluation);
    JsonNode json = new ObjectMapper().readTree(storage.files.get("out/_owl/report.json"));
    assertThat(json).isEqualTo(new ObjectMapper().readTree(report.toJson().toString()));
    assertThat(json.at("/options/sparsity").doubleValue()).isEqualTo(0.6);
    assertThat(json.at("/options/metric").asText()).isEqualTo("wanda");
    assertThat(json.at("/options/allocation").asText()).isEqualTo("owl");
    assertThat(json.at("/options/outlierThreshold").doubleValue()).isEqualTo(2);
    assertThat(json.at("/options/lambda").doubleValue()).isEqualTo(0.1);
    assertThat(json.at("/options/propagation").asText()).isEqualTo("sequential");
    assertThat(json.at("/perplexity/dense").doubleValue())
        .isEqualTo(report.dense().orElseThrow().value());
    assertThat(json.at("/perplexity/pruned").doubleValue())
        .isEqualTo(report.pruned().orElseThrow().value());
    assertThat(json.at("/perplexity/windows").intValue()).isEqualTo(2);
    assertThat(json.at("/sparsity/target").doubleValue()).isEqualTo(0.6);
    assertThat(json.at("/sparsity/reached").doubleValue()).isEqualTo(report.reached());
    assertThat(json.at("/blocks")).hasSize(3);
    JsonNode block = json.at("/blocks/1");
    assertThat(block.get("index").intValue()).isEqualTo(1);
    assertThat(block.get("outlierRatio").doubleValue())
        .isEqualTo(report.blocks().get(1).profile().outlierRatio(2))
        .isEqualTo(block.at("/outlierRatios/2.0").doubleValue());
    assertThat(block.get("outlierRatios").fieldNames())
        .toIterable()
        .containsExactly("2.0", "3.0", "5.0", "7.0", "10.0");
    assertThat(block.get("sparsity").doubleValue()).isEqualTo(report.blocks().get(1).sparsity());
    assertThat(block.get("linears")).hasSize(7);
  }

  @Test
  void keepsWhatIsNotPrunedAsItIs() throws IOException {
    sample.write(storage, "model");
    prune(OPTIONS);
    Checkpoint input = Checkpoint.open(storage, "model");
    Checkpoint pruned = Checkpoint.open(storage, "out");
    try (TensorReader reader = new TensorReader(storage)) {
      for (TensorRef tensor : input.tensors().values()) {
        if (!tensor.name().contains("_proj")) {
          float[] before = values(reader, tensor);
          assertThat(values(reader, pruned.tensor(tensor.name()))).isEqualTo(before);
          continue;
        }
        float[] before = values(reader, tensor);
        float[] after = values(reader, pruned.tensor(tensor.name()));
        for (int i = 0; i < before.length; i++) {
          int bits = Float.floatToRawIntBits(after[i]);
          assertThat(bits).isIn(0, Float.floatToRawIntBits(before[i]));
        }
      }
    }
  }

  private static float[] values(TensorReader reader, TensorRef tensor) throws IOException {
    if (tensor.shape().size() == 1) {
      return reader.readVector(tensor);
    }
    try (Matrix matrix = reader.readMatrix(tensor)) {
      return matrix.toArray();
    }
  }

  @Test
  void givesTheSameBytesTwice() throws IOException {
    sample.write(storage, "model");
    for (PruneOptions options :
        List.of(OPTIONS, OPTIONS.withPropagation(Propagation.DENSE), DATA_FREE)) {
      prune(options.withOverwrite(true));
      TreeMap<String, byte[]> first = output();
      prune(options.withOverwrite(true));
      assertSame(output(), first);
    }
  }

  @Test
  void prunesDifferentlyByTheActivationsOfPrunedBlocks() throws IOException {
    sample.write(storage, "model");
    PruneReport sequential = prune(OPTIONS);
    TreeMap<String, byte[]> first = output();
    PruneReport dense = prune(OPTIONS.withPropagation(Propagation.DENSE).withOverwrite(true));
    TreeMap<String, byte[]> second = output();
    assertThat(sequential.fingerprint()).isNotEqualTo(dense.fingerprint());
    assertThat(sequential.blocks())
        .extracting(PruneReport.Block::sparsity)
        .isEqualTo(dense.blocks().stream().map(PruneReport.Block::sparsity).toList());
    String shard = "out/model-0000%d-of-00004.safetensors";
    assertThat(second.get(shard.formatted(2))).isEqualTo(first.get(shard.formatted(2)));
    assertThat(second.get(shard.formatted(3))).isNotEqualTo(first.get(shard.formatted(3)));
  }

  /** A model whose first block is pruned already shows a dense pass what a sequential one sees. */
  @Test
  void showsEachBlockWhatThePrunedOnesBeforeItMake() throws IOException {
    PruneOptions uniform = OPTIONS.withAllocator(new Uniform());
    String secondBlock = "out/model-00003-of-00004.safetensors";
    sample.write(storage, "model");
    prune(uniform);
    byte[] expected = storage.files.get(secondBlock);
    ModelLayout pruned = ModelLayout.of(Checkpoint.open(storage, "out"));
    try (TensorReader reader = new TensorReader(storage)) {
      for (LinearLayer linear : pruned.blocks().get(0).linears()) {
        float[] weights = values(reader, linear.weight());
        System.arraycopy(weights, 0, sample.values(linear.weight().name()), 0, weights.length);
      }
    }
    sample.write(storage, "model");
    prune(uniform.withPropagation(Propagation.DENSE).withOverwrite(true));
    assertThat(storage.files.get(secondBlock)).isEqualTo(expected);
  }

  @Test
  void worksOnEveryGoldenCheckpoint(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    for (Fixture fixture : Fixture.golden()) {
      String location = "file://" + folder.resolve(fixture.toString());
      PruneReport report =
          new LocalPipeline(local, Progress.NONE)
              .prune(
                  PruneOptions.defaults("file:" + fixture.model(), location),
                  Optional.of(fixture.calibration()),
                  NONE);
      assertThat(report.reached()).isBetween(0.6, 0.75);
      assertThat(Checkpoint.open(local, location).tensors().keySet())
          .containsExactlyInAnyOrderElementsOf(
              Checkpoint.open(local, fixture.model()).tensors().keySet());
    }
  }

  @Test
  void needsNoCalibrationForMagnitudeAndUniform() throws IOException {
    sample.write(storage, "model");
    PruneReport report = prune(DATA_FREE, NONE, NONE);
    TreeMap<String, byte[]> without = output();
    assertThat(report.sequences()).isZero();
    assertThat(report.tokens()).isZero();
    assertThat(report.blocks()).allMatch(block -> block.sparsity() == 0.6);
    assertThat(report.seconds()).containsOnlyKeys("allocate", "prune", "commit");
    assertThat(report.toJson().at("/blocks/0/outlierRatio").isNull()).isTrue();
    assertThat(report.toJson().has("perplexity")).isFalse();
    PruneReport with = prune(DATA_FREE.withOverwrite(true), calibration, NONE);
    assertSame(output(), without);
    assertThat(with.sequences()).as("sequences that were used").isZero();
    assertThat(with.fingerprint()).isEqualTo(report.fingerprint());
  }

  @Test
  void doesNotLookAtActivationsMoreOftenThanItMust() throws IOException {
    sample.write(storage, "model");
    List<String> stages = new ArrayList<>();
    Progress progress =
        new Progress() {
          @Override
          public void begin(String stage, int steps) {
            stages.add(stage + " " + steps);
          }

          @Override
          public void step(String what) {
            stages.add(what);
          }

          @Override
          public void say(String message) {}

          @Override
          public void warn(String message) {}
        };
    new LocalPipeline(storage, progress)
        .prune(OPTIONS.withAllocator(new Uniform()), calibration, NONE);
    assertThat(stages)
        .containsExactly("allocate 1", "prune 3", "block 0", "block 1", "block 2", "commit 1");
  }

  @Test
  void changesNoWeightAtSparsityZero() throws IOException {
    sample.write(storage, "model");
    prune(OPTIONS.withSparsity(0).withAllocator(new Uniform()));
    Checkpoint input = Checkpoint.open(storage, "model");
    Checkpoint pruned = Checkpoint.open(storage, "out");
    try (TensorReader reader = new TensorReader(storage)) {
      for (TensorRef tensor : input.tensors().values()) {
        assertThat(values(reader, pruned.tensor(tensor.name()))).isEqualTo(values(reader, tensor));
      }
    }
  }

  @Test
  void asksForCalibration() throws IOException {
    sample.write(storage, "model");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> prune(OPTIONS, NONE, NONE))
        .withMessage(
            "Cannot prune with metric wanda and allocation owl without calibration data: give"
                + " --calibration");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> prune(OPTIONS.withPruner(new MetricPruner(new Magnitude())), NONE, NONE))
        .withMessageContaining("metric magnitude and allocation owl without calibration");
    assertThat(storage.list("out")).isEmpty();
  }

  @Test
  void refusesTokensThatTheModelDoesNotKnow() throws IOException {
    sample.write(storage, "model");
    Optional<TokenSequences> strange =
        Optional.of(TokenSequences.of(List.of(new int[] {1, 2}, new int[] {39, 40})));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> prune(OPTIONS, strange, NONE))
        .withMessage(
            "Cannot use the calibration tokens: token id 40 at sequence 1, position 1 is outside"
                + " the model's vocabulary of 40");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> prune(OPTIONS, calibration, strange))
        .withMessageStartingWith("Cannot use the evaluation tokens: token id 40");
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new LocalPipeline(storage, Progress.NONE).evaluate("model", strange.orElseThrow()))
        .withMessageStartingWith("Cannot use the evaluation tokens: token id 40");
    assertThat(storage.list("out")).isEmpty();
  }

  @Test
  void refusesEvaluationWindowsOfOneToken() throws IOException {
    sample.write(storage, "model");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> prune(OPTIONS, calibration, sequences(5, 1)))
        .withMessage(
            "Cannot evaluate on windows of 1 token: a prediction needs two; use a longer"
                + " --length");
    assertThat(storage.list("out")).isEmpty();
  }

  @Test
  void calibratesOnSequencesOfOneToken() throws IOException {
    sample.write(storage, "model");
    assertThat(prune(OPTIONS, sequences(1, 1, 1), NONE).reached()).isBetween(0.5, 0.6);
  }

  @Test
  void warnsOfSequencesLongerThanTheModelWasMadeFor() throws IOException {
    sample.config.put("max_position_embeddings", 30);
    sample.write(storage, "model");
    List<String> warnings = new ArrayList<>();
    Progress progress = new Told(new ArrayList<>(), warnings);
    new LocalPipeline(storage, progress).prune(OPTIONS, calibration, NONE);
    assertThat(warnings)
        .contains(
            "sequences of 31 tokens are longer than the 30 positions the model was made for:"
                + " consider --length 30");
  }

  @Test
  void saysWhichWeightIsDamagedAndLeavesNothing() throws IOException {
    sample.values("model.layers.1.mlp.up_proj.weight")[3 * 16 + 5] = Float.NaN;
    sample.write(storage, "model");
    for (PruneOptions options : List.of(OPTIONS, DATA_FREE)) {
      assertThatExceptionOfType(MalformedCheckpointException.class)
          .isThrownBy(() -> prune(options))
          .withMessage(
              "Cannot use model.layers.1.mlp.up_proj.weight of model/model.safetensors: NaN at"
                  + " [3, 5]");
      assertThat(storage.list("out")).isEmpty();
    }
  }

  @Test
  void saysWhichActivationsOverflowAndLeavesNothing() throws IOException {
    for (String name : List.of("gate_proj", "up_proj")) {
      java.util.Arrays.fill(sample.values("model.layers.1.mlp." + name + ".weight"), 1e20f);
    }
    sample.write(storage, "model");
    PruneOptions dense = OPTIONS.withPropagation(Propagation.DENSE).withAllocator(new Uniform());
    for (PruneOptions options :
        List.of(OPTIONS, dense, dense.withPropagation(Propagation.SEQUENTIAL))) {
      assertThatExceptionOfType(MalformedCheckpointException.class)
          .isThrownBy(() -> prune(options))
          .withMessageStartingWith("Cannot use the activations of block 1: the squared norm of")
          .withMessageContaining("at the mlp output input");
      assertThat(storage.list("out")).isEmpty();
    }
  }

  @Test
  void leavesNothingWhereTheAllocationIsImpossible() throws IOException {
    sample.write(storage, "model");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> prune(OPTIONS.withSparsity(0.99).withAllocator(new Owl(2, 0.4))))
        .withMessageContaining("use a --lambda below");
    assertThat(storage.list("out")).isEmpty();
  }

  /**
   * Wherever a write fails, there is no checkpoint in the output, or all of it. The last three
   * writes are the index, which is the commit, the report, and that all is done.
   */
  @ParameterizedTest
  @EnumSource
  void leavesNothingThatLooksLikeACheckpointWhenAWriteFails(FailingStorage.Point point)
      throws IOException {
    sample.write(storage, "model");
    FailingStorage counting = new FailingStorage(storage, -1, point);
    new LocalPipeline(counting, Progress.NONE).prune(OPTIONS, calibration, NONE);
    TreeMap<String, byte[]> whole = output();
    storage.delete("out");
    int writes = counting.written.size();
    int index = counting.written.indexOf("out/model.safetensors.index.json");
    assertThat(index).isEqualTo(writes - 3);
    for (int which = 0; which < writes; which++) {
      FailingStorage failing = new FailingStorage(storage, which, point);
      assertThatThrownBy(
              () -> new LocalPipeline(failing, Progress.NONE).prune(OPTIONS, calibration, NONE))
          .isInstanceOf(IOException.class)
          .hasMessageMatching(
              "no more room for "
                  + counting
                      .written
                      .get(which)
                      .replaceFirst("[^/]*\\.started", "[^/]*\\\\.started"));
      boolean published = which > index || which == index && point == FailingStorage.Point.CLOSED;
      if (published) {
        assertSame(output(), whole);
      } else {
        assertThatThrownBy(() -> Checkpoint.open(storage, "out"))
            .isInstanceOf(MalformedCheckpointException.class);
        if (which < index && !(which == 0 && point == FailingStorage.Point.CLOSED)) {
          assertThat(storage.list("out")).as("after write %d", which).isEmpty();
        }
      }
      storage.delete("out");
    }
  }

  @Test
  void replacesAnExistingOutput() throws IOException {
    new SampleModel(5, 9).write(storage, "model");
    prune(OPTIONS);
    assertThat(storage.list("out")).contains("model-00006-of-00006.safetensors");
    storage.delete("model");
    sample.write(storage, "model");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> prune(OPTIONS))
        .withMessageContaining("there is something in it; give --overwrite");
    prune(OPTIONS.withOverwrite(true));
    TreeMap<String, byte[]> replaced = output();
    storage.delete("out");
    prune(OPTIONS);
    assertSame(replaced, output());
  }

  @Test
  void prunesWhatItHasPruned() throws IOException {
    sample.write(storage, "model");
    double once = prune(OPTIONS.withSparsity(0.3)).reached();
    PruneOptions again =
        new PruneOptions(
            "out",
            "again",
            0.6,
            OPTIONS.pruner(),
            OPTIONS.allocator(),
            OPTIONS.propagation(),
            false);
    assertThat(prune(again).reached()).isGreaterThan(once + 0.2);
    assertThat(storage.list("again")).contains("model-00004-of-00004.safetensors");
  }
}
