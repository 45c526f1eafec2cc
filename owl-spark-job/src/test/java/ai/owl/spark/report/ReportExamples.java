package ai.owl.spark.report;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.Owl;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.evaluation.Perplexity;
import ai.owl.model.Architecture;
import ai.owl.model.LinearRole;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.Wanda;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;

/** Plausible results to draw. Run as a program, it writes their pages into a folder, to look at. */
final class ReportExamples {
  static final Perplexity DENSE = new Perplexity(5.68, 166, 339_968);

  private ReportExamples() {}

  /** Writes the pages; the argument is the folder. */
  public static void main(String[] args) throws IOException {
    Path folder = Files.createDirectories(Path.of(args[0]));
    Map<String, String> pages = new LinkedHashMap<>();
    for (int blocks : new int[] {1, 8, 32, 80}) {
      pages.put("prune-" + blocks, HtmlReport.of(prune(blocks), provenance()));
    }
    pages.put(
        "prune-uniform",
        HtmlReport.of(
            prune("/models/llama-7b", 32, new Uniform(), Optional.empty(), Map.of()),
            new Provenance(List.of(), Map.of())));
    pages.put("sweep", HtmlReport.of(sweep(), provenance()));
    pages.put("sweep-many", HtmlReport.of(bigSweep(), provenance()));
    pages.put("demo", HtmlReport.of(demo(), samples(), provenance()));
    for (Map.Entry<String, String> page : pages.entrySet()) {
      Files.writeString(folder.resolve(page.getKey() + ".html"), page.getValue());
    }
  }

  static Provenance provenance() {
    Map<String, String> versions = new LinkedHashMap<>();
    versions.put("owl-spark", "0.1.0");
    versions.put("Spark", "4.0.1");
    versions.put("Java", "17.0.12 (Eclipse Adoptium)");
    versions.put("OS", "Linux 6.1.0 amd64");
    return new Provenance(
        List.of(
            "submit/owl",
            "prune",
            "--model",
            "hdfs:///models/llama-7b",
            "--calibration",
            "hdfs:///data/c4 train.00000-of-01024.json.gz",
            "--output",
            "hdfs:///models/llama-7b-owl70",
            "--sparsity",
            "0.7",
            "--evaluate",
            "hdfs:///data/wikitext2-test.parquet"),
        versions);
  }

  /** A run of OWL and Wanda at 70 %. */
  static PruneReport prune(int blocks) {
    Map<String, Double> seconds = new LinkedHashMap<>();
    seconds.put("calibrate", 1284.2);
    seconds.put("profile", 312.8);
    seconds.put("allocate", 0.012);
    seconds.put("prune", 2961.5);
    seconds.put("commit", 4.1);
    seconds.put("evaluate", 1710.0);
    return prune("hdfs:///models/llama-7b", blocks, new Owl(5, 0.08), Optional.of(24.55), seconds);
  }

  static PruneReport prune(
      String model,
      int blocks,
      SparsityAllocator allocator,
      Optional<Double> pruned,
      Map<String, Double> seconds) {
    PruneOptions options = PruneOptions.defaults(model, model + "-pruned").withAllocator(allocator);
    List<LayerProfile> profiles = profiles(blocks, allocator);
    SparsityAllocation allocation = allocator.allocate(profiles, options.sparsity());
    return new PruneReport(
        options,
        "5f0c1a9e",
        "LlamaForCausalLM",
        128,
        262_144,
        blocks(profiles, allocation, 4096, 11008),
        pruned.map(value -> DENSE),
        pruned.map(value -> new Perplexity(value, 166, 339_968)),
        seconds,
        allocation.warnings());
  }

  /** Six methods at five sparsities. */
  static SweepReport sweep() {
    List<SparsityAllocator> allocators = List.of(new Uniform(), new Owl(5, 0.08), new Owl(7, 0.05));
    return sweep(List.of(0.4, 0.5, 0.6, 0.7, 0.8), allocators, 32, DENSE.value());
  }

  /** 34 methods at four sparsities. */
  static SweepReport bigSweep() {
    List<SparsityAllocator> allocators = new ArrayList<>(List.of(new Uniform()));
    for (double threshold : new double[] {3, 5, 7, 10}) {
      for (double lambda : new double[] {0.02, 0.05, 0.08, 0.1}) {
        allocators.add(new Owl(threshold, lambda));
      }
    }
    return sweep(List.of(0.5, 0.6, 0.65, 0.7), allocators, 32, DENSE.value());
  }

  /** The demo: one sparsity, a model of eight blocks. */
  static SweepReport demo() {
    return sweep(List.of(0.7), List.of(new Uniform(), new Owl(5, 0.08)), 8, 3.412);
  }

  static List<Sample> samples() {
    List<Sample> samples = new ArrayList<>();
    samples.add(
        new Sample(
            "dense",
            "Once there was a girl named Mira. She had a red kite. One day her kite flew over the"
                + " hill, and Mira was sad. Her friend Tom ran after it and brought the kite back."
                + " Mira was glad."));
    for (SweepReport.Row row : demo().rows()) {
      samples.add(
          new Sample(
              row.label(),
              row.options().pruner().name().equals("wanda")
                  ? "Once there was a girl named Mira. She had a red kite. One day she flew over"
                      + " the hill, and Mira was sad. Her friend Tom was glad."
                  : "Once there was a girl named the the kite. He her kite\nthe a red, a a was"));
    }
    return samples;
  }

  static SweepReport sweep(
      List<Double> sparsities, List<SparsityAllocator> allocators, int blocks, double dense) {
    List<SweepReport.Row> rows = new ArrayList<>();
    for (double sparsity : sparsities) {
      for (Pruner pruner :
          List.<Pruner>of(new MetricPruner(new Magnitude()), new MetricPruner(new Wanda()))) {
        for (SparsityAllocator allocator : allocators) {
          PruneOptions options =
              PruneOptions.defaults("target/models/stories-1m", "unused")
                  .withSparsity(sparsity)
                  .withPruner(pruner)
                  .withPropagation(Propagation.SEQUENTIAL)
                  .withAllocator(allocator);
          List<LayerProfile> profiles = profiles(blocks, allocator);
          SparsityAllocation allocation = allocator.allocate(profiles, sparsity);
          rows.add(
              new SweepReport.Row(
                  options,
                  blocks(profiles, allocation, 1024, 2816),
                  new Perplexity(perplexity(dense, options), 166, 339_968)));
        }
      }
    }
    Map<String, Double> seconds = new LinkedHashMap<>();
    seconds.put("calibrate", 41.7);
    seconds.put("profile", 3.2);
    seconds.put("prune", 93.25);
    seconds.put("evaluate", 61.4);
    return new SweepReport(
        "target/models/stories-1m",
        "LlamaForCausalLM",
        128,
        32_768,
        new Perplexity(dense, 166, 339_968),
        rows,
        seconds,
        List.of());
  }

  private static double perplexity(double dense, PruneOptions options) {
    double harm = 2.7 * Math.pow(options.sparsity() / 0.7, 7);
    if (options.pruner().name().equals("magnitude")) {
      harm *= 2.6;
    }
    if (options.allocator() instanceof Owl owl) {
      harm *= 0.58 + 3 * Math.abs(owl.lambda() - 0.08) + 0.02 * Math.abs(owl.threshold() - 5);
    }
    return dense * Math.exp(9 * Math.tanh(harm / 9)); // a model that knows nothing has a limit
  }

  /** Few outliers at the end, many at the beginning, as in LLaMA-7B. */
  private static List<LayerProfile> profiles(int blocks, SparsityAllocator allocator) {
    Random random = new Random(7);
    List<LayerProfile> profiles = new ArrayList<>();
    for (int i = 0; i < blocks; i++) {
      long weights = 202_375_168;
      if (!(allocator instanceof Owl owl)) {
        profiles.add(new LayerProfile(i, weights, new TreeMap<>()));
        continue;
      }
      double depth = (double) i / Math.max(1, blocks - 1);
      double percent =
          0.22 + 1.05 * Math.exp(-3 * Math.abs(depth - 0.06)) + 0.08 * random.nextDouble();
      TreeMap<Double, Long> outliers = new TreeMap<>();
      outliers.put(owl.threshold(), (long) (percent / 100 * weights * 5 / owl.threshold()));
      profiles.add(new LayerProfile(i, weights, outliers));
    }
    return profiles;
  }

  private static List<PruneReport.Block> blocks(
      List<LayerProfile> profiles, SparsityAllocation allocation, long hidden, long inner) {
    List<PruneReport.Block> blocks = new ArrayList<>();
    for (int i = 0; i < profiles.size(); i++) {
      List<PrunedLinear> linears = new ArrayList<>();
      for (Map.Entry<LinearRole, String> linear : Architecture.LLAMA.linears().entrySet()) {
        LinearRole role = linear.getKey();
        boolean attention = linear.getValue().startsWith("self_attn");
        long rows = attention || role == LinearRole.DOWN_PROJ ? hidden : inner;
        long columns = role == LinearRole.DOWN_PROJ ? inner : hidden;
        double sparsity = allocation.sparsity(i);
        linears.add(
            new PrunedLinear(
                "model.layers." + i + "." + linear.getValue(),
                sparsity,
                rows * columns,
                rows * (long) (columns * sparsity)));
      }
      blocks.add(new PruneReport.Block(profiles.get(i), allocation.sparsity(i), linears));
    }
    return blocks;
  }
}
