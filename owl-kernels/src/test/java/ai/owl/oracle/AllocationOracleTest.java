package ai.owl.oracle;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.AlphaPruning;
import ai.owl.allocation.Atp;
import ai.owl.allocation.Dlp;
import ai.owl.allocation.ErdosRenyi;
import ai.owl.allocation.Evidence;
import ai.owl.allocation.Global;
import ai.owl.allocation.Lamp;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.LinearProfile;
import ai.owl.allocation.Owl;
import ai.owl.allocation.OwlBounded;
import ai.owl.allocation.OwlInverse;
import ai.owl.allocation.OwlLinear;
import ai.owl.allocation.ProfileMeasurement;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.BlockStatistics;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Spectrum;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.model.TokenEmbedding;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.Wanda;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Holds every allocation against {@code allocations.py}, which takes the formulas as they stand:
 * NumPy sorts where the Java code counts in buckets, and PyTorch takes singular values where it
 * takes eigenvalues of a product.
 */
class AllocationOracleTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static final double[] TARGETS = {0.5, 0.6, 0.7, 0.8};

  private static final Map<String, List<LayerProfile>> PROFILES = new HashMap<>();

  @TempDir Path temporary;

  @TestFactory
  List<DynamicTest> allocationsAgree() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    for (Fixture fixture : Fixture.golden()) {
      JsonNode expected = expected(fixture);
      rules(expected)
          .forEach(
              (rule, allocator) ->
                  tests.add(
                      dynamicTest(
                          fixture + " " + rule, () -> check(fixture, expected, rule, allocator))));
      // A rule that only the generator knows would be held against nothing.
      assertThat(rules(expected).keySet())
          .containsExactlyInAnyOrderElementsOf(() -> expected.get("allocations").fieldNames());
    }
    return tests;
  }

  private static Map<String, SparsityAllocator> rules(JsonNode expected) {
    double threshold = expected.get("outlier_threshold").doubleValue();
    double lambda = expected.get("lambda").doubleValue();
    double epsilon = expected.get("epsilon").doubleValue();
    Map<String, SparsityAllocator> rules = new LinkedHashMap<>();
    rules.put("er", new ErdosRenyi());
    rules.put("atp", new Atp(expected.get("atp_beta").doubleValue()));
    rules.put("global-magnitude", new Global(Evidence.MAGNITUDES));
    rules.put("global-score", new Global(Evidence.SCORES));
    rules.put("lamp", new Lamp());
    rules.put("owl-inverse", new OwlInverse(threshold, lambda));
    rules.put("owl-bounded", new OwlBounded(threshold, lambda));
    rules.put("owl-linear", new OwlLinear(threshold, lambda));
    rules.put("dlp", new Dlp(expected.get("dlp_alpha").doubleValue()));
    rules.put("alpha-mid", new AlphaPruning(AlphaFit.MID, epsilon, false));
    rules.put("alpha-mid-linear", new AlphaPruning(AlphaFit.MID, epsilon, true));
    rules.put("alpha-peak", new AlphaPruning(AlphaFit.PEAK, epsilon, false));
    rules.put("alpha-peak-linear", new AlphaPruning(AlphaFit.PEAK, epsilon, true));
    return rules;
  }

  private static JsonNode expected(Fixture fixture) throws IOException {
    return new ObjectMapper().readTree(fixture.expected("allocations.json").toFile());
  }

  private static void check(
      Fixture fixture, JsonNode expected, String rule, SparsityAllocator allocator)
      throws IOException {
    List<LayerProfile> profiles = profiles(fixture);
    int refused = 0;
    for (double target : TARGETS) {
      JsonNode sparsities = expected.get("allocations").get(rule).get(Double.toString(target));
      if (sparsities.isNull()) {
        assertThatIllegalArgumentException()
            .isThrownBy(() -> allocator.allocate(profiles, target))
            .withMessageStartingWith("Cannot allocate sparsity " + target)
            .withMessageContaining("; use a --");
        refused++;
        continue;
      }
      SparsityAllocation allocation = allocator.allocate(profiles, target);
      assertThat(allocation.weightedMean()).isCloseTo(target, within(1e-9));
      List<String> names = names(expected);
      boolean byBlock = sparsities.size() == profiles.size();
      for (LayerProfile profile : profiles) {
        for (int i = 0; i < profile.linears().size(); i++) {
          LinearProfile linear = profile.linears().get(i);
          int unit = names.indexOf(linear.name());
          assertThat(allocation.sparsity(profile.block(), i))
              .as("%s at %s", linear.name(), target)
              .isCloseTo(
                  sparsities.get(byBlock ? profile.block() : unit).doubleValue(),
                  within(tolerance(fixture, rule, linear)));
        }
      }
    }
    assertThat(refused).as("targets that cannot be met").isLessThan(TARGETS.length);
  }

  /**
   * Rules that look at no activations agree to rounding, where the checkpoint's numbers fill
   * buckets by themselves also those that count. Elsewhere a threshold falls inside of a bucket,
   * whose weights go in equal shares, or norms differ in their last bits: a weight or two of a
   * layer. Outlier ratios are means of float32 in PyTorch; no score is within 1e-5 of its
   * threshold, so the counts are the same on any machine.
   */
  private static double tolerance(Fixture fixture, String rule, LinearProfile linear)
      throws IOException {
    DType type =
        ModelLayout.of(Checkpoint.open(STORAGE, fixture.model()))
            .blocks()
            .get(0)
            .linears()
            .get(0)
            .weight()
            .type();
    return switch (rule) {
      case "global-magnitude", "lamp" -> type == DType.F32 ? 2.0 / linear.weights() : 1e-12;
      case "global-score" -> 3.0 / linear.weights();
      case "owl-inverse", "owl-bounded", "owl-linear", "dlp" -> 1e-7;
      default -> 1e-12;
    };
  }

  /** What is asked for is what is left in the files, whichever allocation spread it. */
  @TestFactory
  List<DynamicTest> targetsAreReached() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    Fixture fixture = Fixture.golden("llama3-bf16");
    JsonNode expected = expected(fixture);
    Map<String, SparsityAllocator> rules = new LinkedHashMap<>(rules(expected));
    rules.put("owl", new Owl(5, 0.08));
    rules.put("uniform", new Uniform());
    rules.forEach(
        (rule, allocator) -> {
          for (double target : TARGETS) {
            for (Pruner pruner :
                List.of(new MetricPruner(new Magnitude()), new MetricPruner(new Wanda()))) {
              JsonNode known = expected.get("allocations").path(rule).path("" + target);
              tests.add(
                  dynamicTest(
                      pruner.name() + " " + rule + " " + target,
                      () -> {
                        if (known.isNull()) {
                          assertThatIllegalArgumentException()
                              .isThrownBy(() -> prune(fixture, pruner, allocator, target))
                              .withMessageContaining("; use a --");
                        } else {
                          checkReached(prune(fixture, pruner, allocator, target), target);
                        }
                      }));
            }
          }
        });
    return tests;
  }

  /** Whole weights go: of every row one less, or of every matrix all that equal the last. */
  private static void checkReached(PruneReport report, double target) {
    double rows = 0;
    for (PruneReport.Block block : report.blocks()) {
      rows += block.profile().linears().stream().mapToLong(LinearProfile::rows).sum();
    }
    assertThat(report.reached()).isCloseTo(target, within(0.001 + rows / report.weights()));
  }

  private PruneReport prune(
      Fixture fixture, Pruner pruner, SparsityAllocator allocator, double target)
      throws IOException {
    PruneOptions options =
        PruneOptions.defaults(fixture.model(), temporary.resolve("pruned").toString())
            .withSparsity(target)
            .withPruner(pruner)
            .withAllocator(allocator)
            .withOverwrite(true);
    return new LocalPipeline(STORAGE, Progress.NONE)
        .prune(options, Optional.of(fixture.calibration()), Optional.empty());
  }

  @TestFactory
  List<DynamicTest> spectraAgree() {
    return Fixture.golden().stream()
        .map(fixture -> dynamicTest(fixture.toString(), () -> checkSpectra(fixture)))
        .toList();
  }

  private static void checkSpectra(Fixture fixture) throws IOException {
    JsonNode expected = expected(fixture);
    List<String> left = new ArrayList<>(names(expected));
    for (LayerProfile profile : profiles(fixture)) {
      for (LinearProfile linear : profile.linears()) {
        int unit = names(expected).indexOf(linear.name());
        left.remove(linear.name());
        assertThat(linear.weights()).isEqualTo(expected.get("weights").get(unit).longValue());
        for (AlphaFit fit : AlphaFit.values()) {
          assertThat(fit.alpha(linear.spectrum()))
              .as("%s of %s", fit, linear.name())
              .isCloseTo(
                  expected.get("alpha").get(fit.toString()).get(unit).doubleValue(), within(1e-8));
        }
        if (profile.block() == 0) {
          JsonNode values = expected.get("spectra").get(linear.name());
          double[] eigenvalues = linear.spectrum().eigenvalues();
          assertThat(eigenvalues).hasSize(values.size());
          double largest = eigenvalues[eigenvalues.length - 1];
          for (int i = 0; i < eigenvalues.length; i++) {
            assertThat(eigenvalues[i])
                .isCloseTo(values.get(i).doubleValue(), within(1e-13 * largest));
          }
        }
      }
    }
    assertThat(left).isEmpty();
  }

  /** PyTorch's order is not everywhere the layout's. */
  private static List<String> names(JsonNode expected) {
    List<String> names = new ArrayList<>();
    expected.get("linears").forEach(name -> names.add(name.textValue()));
    return names;
  }

  /** Everything that any allocator asks for, measured once a checkpoint. */
  private static synchronized List<LayerProfile> profiles(Fixture fixture) throws IOException {
    List<LayerProfile> known = PROFILES.get(fixture.toString());
    if (known != null) {
      return known;
    }
    ModelLayout model = ModelLayout.of(Checkpoint.open(STORAGE, fixture.model()));
    List<LayerProfile> profiles = new ArrayList<>();
    try (TensorReader reader = new TensorReader(STORAGE);
        ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      List<Matrix> hidden = TokenEmbedding.embed(model, fixture.calibration().sequences(), reader);
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          BlockStatistics statistics = new BlockStatistics();
          for (Matrix states : hidden) {
            block.advance(states, buffers, statistics);
          }
          LayerProfile profile =
              ProfileMeasurement.of(
                  block, statistics, new TreeSet<>(List.of(5.0)), EnumSet.allOf(Evidence.class));
          List<LinearProfile> linears = new ArrayList<>();
          for (LinearLayer linear : layout.linears()) {
            linears.add(
                profile
                    .linears()
                    .get(linears.size())
                    .withSpectrum(Spectrum.of(block.weight(linear))));
          }
          profiles.add(profile.withLinears(linears));
        }
      }
      hidden.forEach(Matrix::close);
    }
    PROFILES.put(fixture.toString(), profiles);
    return profiles;
  }
}
