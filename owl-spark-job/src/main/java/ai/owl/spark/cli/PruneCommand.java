package ai.owl.spark.cli;

import ai.owl.allocation.Owl;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.TokenSequences;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.OutputCheckpoint;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.report.HtmlReport;
import ai.owl.spark.report.Provenance;
import ai.owl.spark.report.ReportTable;
import ai.owl.spark.storage.HadoopStorage;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code owl prune}: from a checkpoint to a pruned one. */
@Command(
    name = "prune",
    description = "Prunes a checkpoint and writes the pruned one.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class PruneCommand implements Callable<Integer> {
  /** The rules that sparsity can be spread over blocks by. */
  enum Allocation {
    OWL,
    UNIFORM;

    @Override
    public String toString() {
      return name().toLowerCase(java.util.Locale.ROOT);
    }
  }

  @Option(
      names = "--model",
      required = true,
      paramLabel = "URI",
      description = "Folder of the checkpoint: config.json and safetensors, on any file system.")
  private String model;

  @Option(
      names = "--calibration",
      split = ",",
      paramLabel = "URI",
      description =
          "Calibration text (.txt, .jsonl, .parquet, each also .gz), or token ids (.safetensors,"
              + " tensor 'calibration'). Not needed for magnitude with uniform.")
  private List<String> calibration = List.of();

  @Option(
      names = "--output",
      required = true,
      paramLabel = "URI",
      description = "Folder to write the pruned checkpoint to.")
  private String output;

  @Option(
      names = "--sparsity",
      paramLabel = "S",
      description =
          "Share of the weights of the blocks' linear layers to remove, in [0, 1). An N:M pattern"
              + " says it by itself.")
  private Optional<Double> sparsity = Optional.empty();

  @Option(
      names = "--pattern",
      defaultValue = "unstructured",
      paramLabel = "NAME",
      converter = PrunerFlags.PatternName.Converter.class,
      description =
          "Where zeros may stand: unstructured, or N:M to keep N of every M consecutive weights,"
              + " such as 2:4. Default: ${DEFAULT-VALUE}.")
  private PrunerFlags.PatternName pattern;

  @Option(
      names = "--metric",
      defaultValue = "wanda",
      paramLabel = "NAME",
      description = "Which weights go: ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
  private PrunerFlags.Metric metric;

  @Mixin private PrunerFlags flags;

  @Option(
      names = "--allocation",
      defaultValue = "owl",
      paramLabel = "NAME",
      description =
          "How much goes from where: ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
  private Allocation allocation;

  @Option(
      names = "--outlier-threshold",
      defaultValue = "5",
      paramLabel = "M",
      description = "OWL: a weight is an outlier above M times its block's mean. Default: 5.")
  private double outlierThreshold;

  @Option(
      names = "--lambda",
      defaultValue = "0.08",
      paramLabel = "L",
      description = "OWL: the blocks' sparsities span 2 L. Default: 0.08.")
  private double lambda;

  @Option(
      names = "--propagation",
      defaultValue = "sequential",
      paramLabel = "NAME",
      description =
          "Where statistics come from: sequential (behind pruned blocks, as published) or dense"
              + " (one pass, faster). Default: ${DEFAULT-VALUE}.")
  private Propagation propagation;

  @Option(
      names = "--sequences",
      defaultValue = "128",
      paramLabel = "N",
      description = "Calibration windows to draw from text. Default: 128.")
  private int sequences;

  @Option(
      names = "--length",
      defaultValue = "2048",
      paramLabel = "T",
      description = "Tokens of a window, for calibration and evaluation. Default: 2048.")
  private int length;

  @Option(
      names = "--seed",
      defaultValue = "0",
      paramLabel = "SEED",
      description = "Seed of the published sampling. Default: 0.")
  private long seed;

  @Option(
      names = "--sampling",
      defaultValue = "published",
      paramLabel = "NAME",
      description =
          "published (a random window from each drawn document) or packed (consecutive windows of"
              + " all documents). Default: ${DEFAULT-VALUE}.")
  private WindowSampling sampling;

  @Option(
      names = "--evaluate",
      split = ",",
      paramLabel = "URI",
      description =
          "Text or token ids (tensor 'evaluation') to measure perplexity on, before and after.")
  private List<String> evaluate = List.of();

  @Option(names = "--overwrite", description = "Replace a checkpoint that is already in --output.")
  private boolean overwrite;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Also write the result as JSON to FILE.")
  private String json;

  @Override
  public Integer call() throws Exception {
    PruneOptions options =
        new PruneOptions(
            model,
            output,
            PrunerFlags.pattern(pattern, sparsity),
            flags.pruner(metric),
            allocator(),
            flags.rounding(),
            propagation,
            overwrite);
    try (ConsoleProgress progress = ConsoleProgress.standard();
        SparkSession session = SparkContexts.open("prune")) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      // What can be refused at once is refused before any text is tokenized.
      ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
      OutputCheckpoint.requireFree(storage, options);
      JsonFile.requireWritable(storage, json);
      progress.say(InspectCommand.summary(model, layout));
      TokenInput input = new TokenInput(spark.hadoopConfiguration(), storage);
      Optional<TokenSequences> sequencesToObserve = Optional.empty();
      Map<String, Object> inputs = new LinkedHashMap<>();
      if (!calibration.isEmpty() && options.needsCalibration()) {
        sequencesToObserve =
            Optional.of(input.calibration(calibration, model, sampling, sequences, length, seed));
        TokenInput.describe(inputs, calibration, sampling, sequences, length, seed);
        progress.say("calibration: " + TokenInput.summary(sequencesToObserve.get()));
      }
      if (!calibration.isEmpty() && !options.needsCalibration()) {
        progress.say(
            "--calibration is not read: "
                + metric
                + " with "
                + allocation
                + " looks at no activations");
      }
      Optional<TokenSequences> windows = Optional.empty();
      if (!evaluate.isEmpty()) {
        windows = Optional.of(input.evaluation(evaluate, "--evaluate", model, length, 0));
        TokenInput.describe(inputs, evaluate, length);
        progress.say("evaluation: " + TokenInput.summary(windows.get()));
      }
      PruneReport report =
          new SparkPipeline(spark, storage, progress).prune(options, sequencesToObserve, windows);
      System.out.print(ReportTable.of(report));
      Provenance provenance = Invocation.provenance(spark, inputs);
      String html = Storage.resolve(output, "_owl/report.html");
      storage.writeAll(html, HtmlReport.of(report, provenance).getBytes(StandardCharsets.UTF_8));
      ObjectNode result = report.toJson();
      result.set("provenance", provenance.toJson());
      JsonFile.write(storage, Storage.resolve(output, "_owl/report.json"), result);
      if (json != null) {
        JsonFile.write(storage, json, result);
      }
      System.out.println("written to " + output + ", report: " + html);
      return Main.DONE;
    }
  }

  private SparsityAllocator allocator() {
    return switch (allocation) {
      case OWL -> new Owl(outlierThreshold, lambda);
      case UNIFORM -> new Uniform();
    };
  }
}
