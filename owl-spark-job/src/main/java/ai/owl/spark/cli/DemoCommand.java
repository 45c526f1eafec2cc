package ai.owl.spark.cli;

import ai.owl.allocation.Owl;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.TextGenerator;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.Wanda;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.report.HtmlReport;
import ai.owl.spark.report.Sample;
import ai.owl.spark.storage.HadoopStorage;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
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

/** {@code owl demo}: what OWL does, on a small model that comes with the program. */
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
  private static final List<String> TEXTS = List.of("calibration.jsonl", "evaluation.jsonl");
  private static final int SEQUENCES = 48;
  private static final int LENGTH = 256;
  private static final int WINDOWS = 80;
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
      description = "Share of the weights to remove. Default: 0.7.")
  private double sparsity;

  @Override
  public Integer call() throws Exception {
    try (SparkSession session = SparkContexts.open("demo")) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      String model = Storage.resolve(output, "model");
      requireOurs(storage, model);
      for (String name : MODEL) {
        storage.writeAll(Storage.resolve(model, name), resource("model/" + name));
      }
      for (String name : TEXTS) {
        storage.writeAll(Storage.resolve(output, name), resource(name));
      }
      TokenInput input = new TokenInput(spark.hadoopConfiguration(), storage);
      TokenSequences calibration =
          input.calibration(
              List.of(Storage.resolve(output, TEXTS.get(0))),
              model,
              WindowSampling.PACKED,
              SEQUENCES,
              LENGTH,
              0);
      TokenSequences windows =
          input.evaluation(
              List.of(Storage.resolve(output, TEXTS.get(1))), "", model, LENGTH, WINDOWS);
      SparkPipeline pipeline = new SparkPipeline(spark, storage, new ConsoleProgress(System.err));
      List<PruneReport> reports = new ArrayList<>();
      List<Sample> samples = new ArrayList<>();
      samples.add(new Sample("dense", sample(storage, model)));
      for (Pruner pruner : List.<Pruner>of(new Magnitude(), new Wanda())) {
        for (SparsityAllocator allocator :
            List.<SparsityAllocator>of(new Uniform(), new Owl(5, 0.08))) {
          String pruned = Storage.resolve(output, pruner.name() + "-" + allocator.name());
          PruneOptions options =
              new PruneOptions(
                  model, pruned, sparsity, pruner, allocator, Propagation.SEQUENTIAL, true);
          System.err.println("== " + pruner.name() + ", " + allocator.label());
          reports.add(pipeline.prune(options, Optional.of(calibration), Optional.of(windows)));
          samples.add(new Sample(pruner.name() + " " + allocator.label(), sample(storage, pruned)));
        }
      }
      String report = Storage.resolve(output, "report.html");
      storage.writeAll(
          report,
          HtmlReport.of(together(reports, calibration), samples, Invocation.provenance(spark))
              .getBytes(StandardCharsets.UTF_8));
      print(reports, samples);
      System.out.println();
      System.out.println("report: " + report);
      return Main.DONE;
    }
  }

  /** A second demo may take the place of the first, and of nothing else. */
  private void requireOurs(Storage storage, String model) throws IOException {
    String config = Storage.resolve(model, "config.json");
    boolean earlier =
        storage.exists(config)
            && Arrays.equals(storage.readAll(config, 1 << 20), resource("model/config.json"));
    if (storage.exists(output) && !earlier) {
      throw new IllegalArgumentException(
          "Cannot write to "
              + output
              + ": there is something in it that is no earlier demo; give another --output");
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
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  private static SweepReport together(List<PruneReport> reports, TokenSequences calibration) {
    List<SweepReport.Row> rows = new ArrayList<>();
    Map<String, Double> seconds = new LinkedHashMap<>();
    List<String> warnings = new ArrayList<>();
    for (PruneReport report : reports) {
      report
          .pruned()
          .ifPresent(
              pruned -> rows.add(new SweepReport.Row(report.options(), report.blocks(), pruned)));
      report.seconds().forEach((stage, time) -> seconds.merge(stage, time, Double::sum));
      report.warnings().stream().filter(w -> !warnings.contains(w)).forEach(warnings::add);
    }
    PruneReport first = reports.get(0);
    return new SweepReport(
        first.options().model(),
        first.architecture(),
        calibration.count(),
        calibration.tokens(),
        first.dense().orElseThrow(),
        rows,
        seconds,
        warnings);
  }

  private static void print(List<PruneReport> reports, List<Sample> samples) {
    System.out.printf(Locale.ROOT, "%n%-24s %10s %12s%n", "", "reached", "perplexity");
    System.out.printf(
        Locale.ROOT,
        "%-24s %10s %12.4f%n",
        "dense",
        "",
        reports.get(0).dense().orElseThrow().value());
    for (int i = 0; i < reports.size(); i++) {
      PruneReport report = reports.get(i);
      System.out.printf(
          Locale.ROOT,
          "%-24s %9.2f%% %12s%n",
          samples.get(i + 1).label(),
          100 * report.reached(),
          report
              .pruned()
              .map(pruned -> String.format(Locale.ROOT, "%.4f", pruned.value()))
              .orElse("none"));
    }
    for (Sample sample : samples) {
      System.out.printf("%n%s:%n  %s%n", sample.label(), sample.text());
    }
  }
}
