package ai.owl.oracle;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.OutlierRatio;
import ai.owl.allocation.Owl;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ImageSamples;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.SafetensorsWriter.Entry;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.evaluation.AccuracyEvaluator;
import ai.owl.image.ImageFolder;
import ai.owl.image.ImagePreprocessor;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.ClassificationHead;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.pruning.BlockPruner;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import ai.owl.tensor.Matrix;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Holds a vision transformer against what PyTorch, transformers and Pillow compute. */
class VisionOracleTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static final Fixture FIXTURE =
      new Fixture(
          Path.of(System.getProperty("owl.golden")).resolveSibling("golden-images/vit-bf16"));

  @TempDir Path temporary;

  private ModelLayout model;
  private ImageSamples samples;

  @BeforeEach
  void open() throws IOException {
    model = ModelLayout.of(Checkpoint.open(STORAGE, FIXTURE.model()));
    String images = FIXTURE.folder().resolve("images").toString();
    samples =
        new ImageSamples(
            STORAGE,
            ImageFolder.open(STORAGE, images, model.config().labels()),
            ImagePreprocessor.open(STORAGE, FIXTURE.model()));
  }

  @Test
  void denseModelAgrees() throws IOException {
    JsonNode expected = FIXTURE.expected();
    List<LayerProfile> profiles = new ArrayList<>();
    TreeSet<Double> thresholds = new TreeSet<>(List.of(3.0, 5.0, 7.0, 10.0));
    try (TensorReader reader = new TensorReader(STORAGE);
        ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      List<Matrix> hidden = samples.embed(model, 0, samples.count(), reader);
      requireClose("hidden.safetensors", "embedding", hidden);
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          BlockStatistics statistics = new BlockStatistics();
          hidden.forEach(states -> block.advance(states, buffers, statistics));
          requireClose("hidden.safetensors", "block." + layout.index(), hidden);
          requireSums(layout, statistics);
          profiles.add(OutlierRatio.profile(block, statistics, thresholds));
        }
      }
      float[][] logits = ClassificationHead.logits(model, hidden, reader);
      requireClose("logits.safetensors", "logits", List.of(Matrix.of(logits)));
      hidden.forEach(Matrix::close);
    }
    for (double threshold : thresholds) {
      JsonNode ratios = expected.get("outlier_ratio_percent").get(Double.toString(threshold));
      for (LayerProfile profile : profiles) {
        double count = ratios.get(profile.block()).doubleValue() / 100 * profile.weights();
        assertThat((double) profile.outliers().get(threshold))
            .as("outliers of block %d at M = %s", profile.block(), threshold)
            .isCloseTo(count, within(2.01));
      }
    }
    assertThat(accuracy(model)).isCloseTo(accuracy("dense"), within(1e-6));
  }

  private void requireClose(String file, String name, List<Matrix> found) throws IOException {
    float[] expected = Fixture.values(Fixture.tensor(FIXTURE.expected(file), name));
    double squares = 0;
    for (float value : expected) {
      squares += (double) value * value;
    }
    double scale = Math.sqrt(squares / expected.length);
    int at = 0;
    for (Matrix matrix : found) {
      for (float value : matrix.toArray()) {
        double tolerance = 1e-4 * Math.max(scale, Math.abs(expected[at]));
        assertThat((double) value).as("%s %d", name, at).isCloseTo(expected[at], within(tolerance));
        at++;
      }
    }
    assertThat(at).isEqualTo(expected.length);
  }

  private static void requireSums(BlockLayout layout, BlockStatistics statistics)
      throws IOException {
    for (LinearLayer linear : layout.linears()) {
      float[] expected =
          Fixture.values(
              Fixture.tensor(FIXTURE.expected("norms.safetensors"), linear.name() + ".sumsq"));
      double[] sums = statistics.at(linear.role().input()).sumsOfSquares();
      assertThat(sums).hasSameSizeAs(expected);
      for (int j = 0; j < sums.length; j++) {
        assertThat(sums[j])
            .as("sum of squares %d of %s", j, linear.name())
            .isCloseTo(expected[j], within(1e-5 * Math.max(1e-3, expected[j])));
      }
    }
  }

  /** The published order: observe, prune, advance; then the pruned file, read as a checkpoint. */
  @ParameterizedTest
  @ValueSource(strings = {"wanda-owl-sequential", "magnitude-uniform-sequential"})
  void prunedModelsAgree(String variant) throws IOException {
    JsonNode expected = FIXTURE.expected();
    Pruner pruner = new MetricPruner(variant.startsWith("wanda") ? new Wanda() : new Magnitude());
    SparsityAllocator allocator =
        variant.contains("owl")
            ? new Owl(
                expected.get("outlier_threshold").doubleValue(),
                expected.get("lambda").doubleValue())
            : new Uniform();
    Path output = Files.createDirectory(temporary.resolve("pruned"));
    Files.copy(Path.of(FIXTURE.model(), "config.json"), output.resolve("config.json"));
    List<Double> sparsities =
        allocator.allocate(profiles(), expected.get("sparsity").doubleValue()).sparsities();
    try (TensorReader reader = new TensorReader(STORAGE);
        ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      Map<String, Entry> entries = new HashMap<>();
      List<DecoderBlock> blocks = new ArrayList<>();
      List<Matrix> hidden = samples.embed(model, 0, samples.count(), reader);
      for (BlockLayout layout : model.blocks()) {
        DecoderBlock block = DecoderBlock.load(model.config(), layout, reader);
        blocks.add(block);
        BlockStatistics statistics = new BlockStatistics();
        hidden.forEach(states -> block.observe(states, buffers, statistics));
        BlockPruner.prune(
            block,
            pruner,
            statistics,
            Collections.nCopies(
                layout.linears().size(),
                new SparsityPattern.Unstructured(sparsities.get(layout.index()))));
        hidden.forEach(states -> block.advance(states, buffers, ActivationObserver.NONE));
        for (LinearLayer linear : layout.linears()) {
          TensorRef weight = linear.weight();
          entries.put(weight.name(), Entry.of(weight.name(), weight.type(), block.weight(linear)));
        }
      }
      List<Entry> all = new ArrayList<>();
      for (TensorRef tensor : Checkpoint.open(STORAGE, FIXTURE.model()).tensors().values()) {
        all.add(entries.getOrDefault(tensor.name(), Entry.copy(tensor, reader)));
      }
      SafetensorsWriter.write(STORAGE, output.resolve("model.safetensors").toString(), all);
      blocks.forEach(DecoderBlock::close);
      hidden.forEach(Matrix::close);
    }
    ModelLayout pruned = ModelLayout.of(Checkpoint.open(STORAGE, output.toString()));
    int different = 0;
    for (BlockLayout layout : pruned.blocks()) {
      for (LinearLayer linear : layout.linears()) {
        float[] ours = Fixture.values(linear.weight());
        float[] theirs =
            Fixture.values(
                Fixture.tensor(
                    FIXTURE.expected("pruned-" + variant + ".safetensors"),
                    linear.weight().name()));
        assertThat(ours).hasSameSizeAs(theirs);
        for (int i = 0; i < ours.length; i++) {
          different += ours[i] != theirs[i] ? 1 : 0;
        }
      }
    }
    assertThat(different).as("weights that are not the oracle's").isLessThanOrEqualTo(2);
    assertThat(accuracy(pruned)).isCloseTo(accuracy(variant), within(1e-6));
  }

  private List<LayerProfile> profiles() throws IOException {
    List<LayerProfile> profiles = new ArrayList<>();
    try (TensorReader reader = new TensorReader(STORAGE);
        ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      List<Matrix> hidden = samples.embed(model, 0, samples.count(), reader);
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          BlockStatistics statistics = new BlockStatistics();
          hidden.forEach(states -> block.advance(states, buffers, statistics));
          profiles.add(OutlierRatio.profile(block, statistics, new TreeSet<>(List.of(5.0))));
        }
      }
      hidden.forEach(Matrix::close);
    }
    return profiles;
  }

  private double accuracy(ModelLayout of) throws IOException {
    try (TensorReader reader = new TensorReader(STORAGE)) {
      return AccuracyEvaluator.evaluate(of, samples, reader).value();
    }
  }

  private static double accuracy(String variant) throws IOException {
    return FIXTURE.expected().get("accuracy").get(variant).doubleValue();
  }
}
