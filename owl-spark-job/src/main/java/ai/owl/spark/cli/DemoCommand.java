package ai.owl.spark.cli;

import ai.owl.allocation.Owl;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.Perplexity;
import ai.owl.evaluation.TextGenerator;
import ai.owl.kernel.Compute;
import ai.owl.kernel.RowCode;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.Wanda;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.report.HtmlReport;
import ai.owl.spark.report.Sample;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.TokenInput;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code owl demo}: what OWL does, on a small model that comes with the program. Each way of
 * pruning is what {@code owl prune} does with the same options.
 */
@Command(
    name = "demo",
    description =
        "Prunes a small story-telling model that comes with the program, in several ways, and shows"
            + " what is left of it.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class DemoCommand implements Callable<Integer> {
  private static final List<String> MODEL =
      List.of(
          "config.json",
          "generation_config.json",
          "model.safetensors",
          "tokenizer.json",
          "tokenizer_config.json");
  private static final String CALIBRATION = "calibration.jsonl";
  private static final String EVALUATION = "evaluation.jsonl";
  private static final int SEQUENCES = 48;
  private static final int LENGTH = 256;
  private static final String PROMPT = "One morning,";
  private static final int TOKENS = 60;

  @Option(
      names = "--output",
      defaultValue = "owl-demo",
      paramLabel = "URI",
      description = "Folder for the model, its pruned copies and the report. Default: owl-demo.")
  private String output;

  @Option(
      names = "--sparsity",
      defaultValue = "0.7",
      paramLabel = "S",
      description = "Share of the weights to remove, in [0, 1). Default: 0.7.")
  private double sparsity;

  @Option(
      names = "--outlier-threshold",
      defaultValue = "3",
      paramLabel = "M",
      description =
          "OWL: a weight is an outlier above M times its block's mean. Default: 3, the best for this"
              + " model of the paper's 3, 5, 7 and 10 (by owl sweep on the calibration text).")
  private double outlierThreshold;

  @Option(
      names = "--lambda",
      defaultValue = "0.08",
      paramLabel = "L",
      description = "OWL: the blocks' sparsities span 2 L. Default: 0.08.")
  private double lambda;

  @Override
  public Integer call() throws Exception {
    List<PruneOptions> ways = ways();
    Owl owl = new Owl(outlierThreshold, lambda);
    if (owl.risk(sparsity).isPresent()) {
      throw new IllegalArgumentException(
          "Cannot show OWL at --sparsity " + sparsity + ": " + owl.risk(sparsity).get());
    }
    try (ConsoleProgress progress = ConsoleProgress.brief();
        SparkSession session =
            SparkContexts.open("demo", List.of(RowCode.Group.values()), Compute.FLOAT32)) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      requireOurs(storage);
      unpack(storage);
      TokenInput input = new TokenInput(spark.hadoopConfiguration(), storage);
      TokenSequences calibration =
          input.calibration(
              List.of(inOutput(CALIBRATION)), model(), WindowSampling.PACKED, SEQUENCES, LENGTH, 0);
      TokenSequences windows =
          input.evaluation(List.of(inOutput(EVALUATION)), EVALUATION, model(), LENGTH, 0);
      SparkPipeline pipeline = new SparkPipeline(spark, storage, progress);
      Map<String, Double> seconds = new LinkedHashMap<>();
      progress.say("== dense");
      Perplexity dense = evaluate(pipeline, model(), windows, seconds);
      List<Sample> samples = new ArrayList<>();
      samples.add(new Sample("dense", sample(storage, model())));
      List<SweepReport.Row> rows = new ArrayList<>();
      List<String> warnings = new ArrayList<>();
      PruneReport report = null;
      for (PruneOptions way : ways) {
        progress.say("== " + way.pruner().name() + " " + way.allocator().label());
        report = pipeline.prune(way, Optional.of(calibration), Optional.empty());
        report.seconds().forEach((stage, time) -> seconds.merge(stage, time, Double::sum));
        report.warnings().stream().filter(w -> !warnings.contains(w)).forEach(warnings::add);
        Perplexity pruned = evaluate(pipeline, way.output(), windows, seconds);
        SweepReport.Row row = new SweepReport.Row(way, report.blocks(), pruned);
        rows.add(row);
        samples.add(new Sample(row.label(), sample(storage, way.output())));
      }
      SweepReport all =
          new SweepReport(
              model(),
              report.architecture(),
              calibration.count(),
              calibration.tokens(),
              dense,
              rows,
              seconds,
              warnings);
      Map<String, Object> inputs = new LinkedHashMap<>();
      TokenInput.describe(
          inputs, List.of(inOutput(CALIBRATION)), WindowSampling.PACKED, SEQUENCES, LENGTH, 0);
      TokenInput.describe(inputs, List.of(inOutput(EVALUATION)), LENGTH);
      String page = inOutput("report.html");
      storage.writeAll(
          page,
          HtmlReport.of(all, samples, Invocation.provenance(spark, inputs))
              .getBytes(StandardCharsets.UTF_8));
      print(all, samples);
      System.out.printf(
          Locale.ROOT,
          "%nThe last one by itself:%n  submit/owl prune --model %s --calibration %s --sampling packed"
              + " --sequences %d --length %d --evaluate %s --metric sparsegpt --sparsity %s"
              + " --outlier-threshold %s"
              + " --lambda %s --output %s%n",
          model(),
          inOutput(CALIBRATION),
          SEQUENCES,
          LENGTH,
          inOutput(EVALUATION),
          sparsity,
          outlierThreshold,
          lambda,
          inOutput("mine"));
      System.out.println("\nreport, for a browser: " + page);
      return Main.DONE;
    }
  }

  private static Perplexity evaluate(
      SparkPipeline pipeline, String model, TokenSequences windows, Map<String, Double> seconds)
      throws IOException {
    long start = System.nanoTime();
    Perplexity perplexity = pipeline.evaluate(model, windows);
    seconds.merge("evaluate", (System.nanoTime() - start) / 1e9, Double::sum);
    return perplexity;
  }

  private List<PruneOptions> ways() {
    List<PruneOptions> ways = new ArrayList<>();
    for (Pruner pruner :
        List.of(
            new MetricPruner(new Magnitude()), new MetricPruner(new Wanda()), new SparseGpt())) {
      for (SparsityAllocator allocator :
          List.of(new Uniform(), new Owl(outlierThreshold, lambda))) {
        ways.add(
            new PruneOptions(
                model(),
                inOutput(pruner.name() + "-" + allocator.name()),
                sparsity,
                pruner,
                allocator,
                Propagation.SEQUENTIAL,
                true));
      }
    }
    return ways;
  }

  private String inOutput(String name) {
    return Storage.resolve(output, name);
  }

  private String model() {
    return inOutput("model");
  }

  /** A second demo may take the place of the first, and of nothing else. */
  private void requireOurs(Storage storage) throws IOException {
    if (!storage.exists(output)) {
      return;
    }
    if (!storage.isFolder(output)) {
      throw new IllegalArgumentException(
          "Cannot write to " + output + ": it is a file; --output must be a folder");
    }
    String config = Storage.resolve(model(), "config.json");
    boolean earlier =
        storage.exists(config)
            && Arrays.equals(storage.readAll(config, 1 << 20), resource("model/config.json"));
    if (!earlier && !storage.list(output).isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot write to "
              + output
              + ": there is something in it that is no earlier demo; give another --output");
    }
  }

  private void unpack(Storage storage) throws IOException {
    for (String name : MODEL) {
      storage.writeAll(Storage.resolve(model(), name), resource("model/" + name));
    }
    for (String name : List.of(CALIBRATION, EVALUATION)) {
      storage.writeAll(inOutput(name), resource(name));
    }
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = DemoCommand.class.getResourceAsStream("/sample/" + name)) {
      if (in == null) {
        throw new IllegalStateException("The jar has no sample/" + name);
      }
      return in.readAllBytes();
    }
  }

  /** What a model goes on with, by itself. */
  private static String sample(Storage storage, String model) throws IOException {
    try (TextTokenizer tokenizer = TextTokenizer.load(storage, model);
        TextGenerator generator = TextGenerator.load(storage, model)) {
      int[] prompt = tokenizer.encode(PROMPT);
      int[] added = generator.generate(prompt, TOKENS, 0, 0, token -> {});
      int[] all = Arrays.copyOf(prompt, prompt.length + added.length);
      System.arraycopy(added, 0, all, prompt.length, added.length);
      return tokenizer.text(all).strip();
    }
  }

  private static void print(SweepReport report, List<Sample> samples) {
    System.out.println();
    row("", "reached", "perplexity");
    row("dense", "", four(report.dense()));
    for (SweepReport.Row way : report.rows()) {
      row(
          way.label(),
          String.format(Locale.ROOT, "%.2f %%", 100 * way.reached()),
          four(way.pruned()));
    }
    for (Sample sample : samples) {
      System.out.printf(
          "%n%s:%n  %s%n", sample.label(), sample.text().replaceAll("\\s*\\R\\s*", "\n  "));
    }
  }

  private static void row(String label, String reached, String perplexity) {
    System.out.println(
        String.format(Locale.ROOT, "%-36s %9s %12s", label, reached, perplexity).stripTrailing());
  }

  private static String four(Perplexity perplexity) {
    return String.format(Locale.ROOT, "%.4f", perplexity.value());
  }
}
