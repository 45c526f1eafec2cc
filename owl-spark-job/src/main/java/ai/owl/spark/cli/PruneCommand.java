package ai.owl.spark.cli;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.LayerProfile;
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
import ai.owl.pruning.SparsityPattern;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.report.HtmlReport;
import ai.owl.spark.report.Provenance;
import ai.owl.spark.report.ReportTable;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.TokenInput;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
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
              + " tensor 'calibration'). Not needed for magnitude with an allocation that looks at no"
              + " activations: uniform, global, er, lamp, alpha, atp, ratios.")
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
              + " says it by itself, and so does ratios:URI: there it is the list's mean, which is"
              + " checked against what is given here.")
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
      completionCandidates = AllocationChoice.Names.class,
      description = {
        "How much goes from where: ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.",
        "ratios:URI is a list of your own: a JSON array or one number a line, a block each; or a"
            + " JSON object of numbers of blocks or names of linear layers. The shares that go, not"
            + " those that stay."
      })
  private AllocationChoice allocation;

  @Option(
      names = "--outlier-threshold",
      defaultValue = "5",
      paramLabel = "M",
      description =
          "owl…: a weight is an outlier above M times its block's mean; with owl-linear, its"
              + " layer's. Default: 5.")
  private double outlierThreshold;

  @Option(
      names = "--lambda",
      defaultValue = "0.08",
      paramLabel = "L",
      description = "owl…: sparsities span 2 L; with owl-bounded, within L of S. Default: 0.08.")
  private double lambda;

  @Option(
      names = "--epsilon",
      defaultValue = "0.2",
      paramLabel = "E",
      description =
          "alpha: sparsities go from 1 - E to 1 + E times their middle. Default: 0.2, published for"
              + " LLaMA-7B.")
  private double epsilon;

  @Option(
      names = "--alpha-fit",
      defaultValue = "peak",
      paramLabel = "NAME",
      description =
          "alpha: where a spectrum's tail begins, peak (the published script's default) or mid (the"
              + " paper's text). Default: ${DEFAULT-VALUE}.")
  private AlphaFit alphaFit;

  @Option(
      names = "--alpha-per-linear",
      description = "alpha: a sparsity for each linear layer, not for each block.")
  private boolean alphaPerLinear;

  @Option(
      names = "--dlp-alpha",
      defaultValue = "0.15",
      paramLabel = "A",
      description = "dlp: the blocks' sparsities span 2 A. Default: 0.15.")
  private double dlpAlpha;

  @Option(
      names = "--atp-beta",
      paramLabel = "B",
      description = "atp: the step of sparsity from each block to the next. No default.")
  private Optional<Double> atpBeta = Optional.empty();

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
    // What is out of range is refused at once; of a list, all but the list.
    PruneOptions asked =
        new PruneOptions(
            model,
            output,
            isSparsityOfList()
                ? new SparsityPattern.Unstructured(0) // until the list is read
                : PrunerFlags.pattern(pattern, sparsity),
            flags.pruner(metric),
            allocation.isList() ? new Uniform() : allocator(),
            flags.rounding(),
            propagation,
            overwrite);
    try (ConsoleProgress progress = ConsoleProgress.standard();
        SparkSession session = SparkContexts.open("prune")) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      // What can be refused at once is refused before any text is tokenized.
      ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
      PruneOptions options = allocation.isList() ? withList(asked, layout, storage) : asked;
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

  /** The options with somebody's own list, checked against the model before any text is read. */
  private PruneOptions withList(PruneOptions asked, ModelLayout layout, Storage storage)
      throws IOException {
    GivenRatios ratios = allocation.read(storage);
    List<LayerProfile> shapes = layout.blocks().stream().map(LayerProfile::ofShapes).toList();
    double target = isSparsityOfList() ? ratios.mean(shapes) : asked.sparsity();
    ratios.allocate(shapes, target); // refuses what does not fit
    return asked.withSparsity(target).withAllocator(ratios);
  }

  /** Whether nobody says the sparsity but somebody's own list. */
  private boolean isSparsityOfList() {
    return allocation.isList() && sparsity.isEmpty() && pattern.kept() == 0;
  }

  private SparsityAllocator allocator() {
    AllocationChoice.Parameters values =
        new AllocationChoice.Parameters(
            List.of(outlierThreshold),
            List.of(lambda),
            List.of(alphaFit),
            List.of(epsilon),
            alphaPerLinear,
            List.of(dlpAlpha),
            atpBeta.stream().toList());
    return allocation.allocators(values).get(0).suitedTo(flags.pruner(metric));
  }
}
