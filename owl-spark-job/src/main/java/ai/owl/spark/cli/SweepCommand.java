package ai.owl.spark.cli;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.kernel.RowCode;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.report.HtmlReport;
import ai.owl.spark.report.ReportTable;
import ai.owl.spark.report.SweepTable;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.TokenInput;
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotTask;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code owl sweep}: one checkpoint, pruned in many ways, each measured, none written. */
@Command(
    name = "sweep",
    description =
        "Prunes a checkpoint in every way that the lists combine to and measures each; writes the"
            + " results, not the models. Started again, it goes on where it was.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class SweepCommand implements Callable<Integer> {
  @Spec private CommandSpec command;

  @Option(
      names = "--model",
      required = true,
      paramLabel = "URI",
      description = "Folder of the checkpoint.")
  private String model;

  @Option(
      names = "--calibration",
      required = true,
      split = ",",
      paramLabel = "URI",
      description = "Calibration text or token ids, as for prune.")
  private List<String> calibration;

  @Option(
      names = "--evaluate",
      required = true,
      split = ",",
      paramLabel = "URI",
      description = "Text or token ids to measure perplexity on.")
  private List<String> evaluate;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "URI",
      description = "Folder for sweep.json, sweep.parquet and report.html.")
  private String output;

  @Option(
      names = "--sparsity",
      split = ",",
      paramLabel = "S",
      defaultValue = "0.7",
      description = "Sparsities, each in [0, 1). Default: ${DEFAULT-VALUE}.")
  private List<Double> sparsities = List.of();

  @Option(
      names = "--metric",
      split = ",",
      paramLabel = "NAME",
      defaultValue = "wanda",
      description = "Of ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
  private List<PrunerFlags.Metric> metrics = List.of();

  @Option(
      names = "--pattern",
      split = ",",
      defaultValue = "unstructured",
      paramLabel = "NAME",
      converter = PrunerFlags.PatternName.Converter.class,
      description =
          "unstructured (at every --sparsity) and N:M such as 2:4. Default: ${DEFAULT-VALUE}.")
  private List<PrunerFlags.PatternName> patterns = List.of();

  @Mixin private PrunerFlags flags;

  @Option(
      names = "--allocation",
      split = ",",
      paramLabel = "NAME",
      defaultValue = "uniform,owl",
      completionCandidates = AllocationChoice.Names.class,
      description =
          "Of ${COMPLETION-CANDIDATES}, as for prune. A list of ratios is tried at the sparsities"
              + " that its mean meets. Default: ${DEFAULT-VALUE}.")
  private List<AllocationChoice> allocations = List.of();

  @Option(
      names = "--outlier-threshold",
      split = ",",
      paramLabel = "M",
      defaultValue = "3,5,7,10",
      description = "Values of M for owl…. Default: ${DEFAULT-VALUE}.")
  private List<Double> thresholds = List.of();

  @Option(
      names = "--lambda",
      split = ",",
      paramLabel = "L",
      defaultValue = "0.02,0.05,0.08,0.1,0.2",
      description = "Values of lambda for owl…. Default, the paper's grid: ${DEFAULT-VALUE}.")
  private List<Double> lambdas = List.of();

  @Option(
      names = "--epsilon",
      split = ",",
      paramLabel = "E",
      defaultValue = "0.2,0.3,0.4,0.5",
      description = "Values for alpha. Default, those published for LLaMA: ${DEFAULT-VALUE}.")
  private List<Double> epsilons = List.of();

  @Option(
      names = "--alpha-fit",
      split = ",",
      paramLabel = "NAME",
      defaultValue = "peak",
      description = "Of peak, mid, for alpha. Default: ${DEFAULT-VALUE}.")
  private List<AlphaFit> alphaFits = List.of();

  @Option(
      names = "--alpha-per-linear",
      description = "alpha: a sparsity for each linear layer, not for each block.")
  private boolean alphaPerLinear;

  @Option(
      names = "--dlp-alpha",
      split = ",",
      paramLabel = "A",
      defaultValue = "0.15",
      description = "Values for dlp. Default: ${DEFAULT-VALUE}.")
  private List<Double> dlpAlphas = List.of();

  @Option(
      names = "--atp-beta",
      split = ",",
      paramLabel = "B",
      description = "Values for atp. No default.")
  private List<Double> atpBetas = List.of();

  @Option(
      names = "--propagation",
      split = ",",
      paramLabel = "NAME",
      defaultValue = "sequential",
      description = "sequential, dense. Default: ${DEFAULT-VALUE}.")
  private List<Propagation> propagations = List.of();

  @Mixin private CalibrationFlags sampled;

  @Option(
      names = "--evaluate-tasks",
      split = ",",
      paramLabel = "NAME",
      description =
          "Zero-shot tasks to try the dense model and every pruned one at: boolq, rte, hellaswag,"
              + " winogrande, arc_easy, arc_challenge, openbookqa.")
  private List<String> evaluateTasks = List.of();

  @Mixin private TaskFlags taskFlags;

  @Mixin private ComputeFlags computeFlags;

  @Option(
      names = "--statistics",
      paramLabel = "URI",
      description =
          "Folder where what is measured of the dense model is kept, and looked for first.")
  private Optional<String> statistics = Optional.empty();

  @Option(
      names = "--keep-grams",
      description =
          "With sparsegpt and dense propagation, also keep the Gram matrices in --statistics, which"
              + " is large: 4 bytes x in_features squared for each input of each block.")
  private boolean keepGrams;

  @Override
  public Integer call() throws Exception {
    AllocationChoice.requireTaken(command.commandLine().getParseResult(), allocations);
    // What is out of range is refused before anything is read; of a list, all but the list.
    List<SparsityAllocator> named = new ArrayList<>();
    List<AllocationChoice> lists = new ArrayList<>();
    for (AllocationChoice choice : allocations) {
      if (choice.isList()) {
        lists.add(choice);
      } else {
        named.addAll(choice.allocators(values()));
      }
    }
    if (lists.isEmpty()) {
      options(named).ways();
    }
    List<ZeroShotTask> tasks = TaskInput.named(evaluateTasks, "--evaluate-tasks");
    TaskSuite.Options taskOptions = taskFlags.options(evaluateTasks, "--evaluate-tasks");
    boolean triesTasks = !tasks.isEmpty() || !taskFlags.files().isEmpty();
    String taskData = triesTasks ? taskFlags.data("--evaluate-tasks") : "";
    try (ConsoleProgress progress = ConsoleProgress.standard();
        SparkSession session =
            SparkContexts.open("sweep", code(pruners()), computeFlags.compute())) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      for (AllocationChoice list : lists) {
        named.add(list.read(storage));
      }
      SweepOptions options = options(named);
      ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
      if (layout.config().readsImages()) {
        throw new IllegalArgumentException(
            "Cannot sweep "
                + model
                + ": "
                + layout.config().architecture().className()
                + " reads images, and sweeps compare perplexities; use owl prune for each way");
      }
      progress.say(InspectCommand.summary(model, layout));
      computeFlags.announce(progress);
      requireUsable(storage);
      TokenInput input = new TokenInput(spark.hadoopConfiguration(), storage);
      TokenSequences observed =
          (TokenSequences) sampled.read(input, layout, calibration, model); // it reads no images
      TokenSequences windows = input.evaluation(evaluate, "--evaluate", model, sampled.length(), 0);
      progress.say("calibration: " + TokenInput.summary(observed));
      progress.say("evaluation: " + TokenInput.summary(windows));
      Map<String, Object> inputs = new LinkedHashMap<>();
      sampled.describe(inputs, calibration);
      TokenInput.describe(inputs, evaluate, sampled.length());
      SparkPipeline pipeline = new SparkPipeline(spark, storage, progress);
      if (triesTasks) {
        TaskSuite suite =
            new TaskInput(spark.hadoopConfiguration(), storage)
                .read(tasks, taskFlags.files(), taskData, taskOptions, layout, model);
        progress.say("tasks: " + TaskInput.summary(suite));
        taskFlags.describe(inputs, evaluateTasks);
        pipeline = pipeline.withTasks(suite);
      }
      if (statistics.isPresent()) {
        pipeline = pipeline.withStatistics(statistics.get(), keepGrams);
      }
      SweepReport report = pipeline.sweep(options, observed, windows);
      if (report.rows().isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot sweep " + model + ": none of the ways can be tried, for the reasons above");
      }
      storage.writeAll(Storage.resolve(output, "sweep.parquet"), SweepTable.parquet(report));
      System.out.print(ReportTable.of(report));
      String html = Storage.resolve(output, "report.html");
      storage.writeAll(
          html,
          HtmlReport.of(report, Invocation.provenance(spark, inputs))
              .getBytes(StandardCharsets.UTF_8));
      System.out.println("written to " + output + ", report: " + html);
      return Main.DONE;
    }
  }

  private List<SparsityPattern> patterns() {
    List<SparsityPattern> all = new ArrayList<>();
    for (PrunerFlags.PatternName pattern : patterns) {
      if (pattern.kept() == 0) {
        sparsities.forEach(sparsity -> all.add(new SparsityPattern.Unstructured(sparsity)));
      } else {
        all.add(PrunerFlags.pattern(pattern, Optional.empty()));
      }
    }
    return all;
  }

  /** Finds out whether results can be written before hours are spent on them. */
  private void requireUsable(Storage storage) throws IOException {
    if (storage.exists(output) && !storage.isFolder(output)) {
      throw new IllegalArgumentException(
          "Cannot write to " + output + ": it is a file; --output must be a folder");
    }
    if (storage.exists(Storage.resolve(output, "config.json"))) {
      throw new IllegalArgumentException(
          "Cannot write to " + output + ": it is a model's folder; give another --output");
    }
    storage.create(Storage.resolve(output, "report.html")).abort();
  }

  /** What a sweep computes with, in the order in which it does. */
  static List<RowCode.Group> code(List<Pruner> pruners) {
    List<RowCode.Group> code = new ArrayList<>(SparkContexts.PRUNED_MODELS);
    if (pruners.stream().anyMatch(pruner -> pruner.needs() == Pruner.Evidence.GRAM)) {
      code.add(code.indexOf(RowCode.Group.SPARSE), RowCode.Group.COMPENSATION);
    }
    return code;
  }

  private List<Pruner> pruners() {
    return flags.pruners(metrics);
  }

  private SweepOptions options(List<SparsityAllocator> allocators) {
    return new SweepOptions(
            model, output, patterns(), pruners(), allocators, flags.rounding(), propagations)
        .withCompute(computeFlags.compute());
  }

  private AllocationChoice.Parameters values() {
    return new AllocationChoice.Parameters(
        thresholds, lambdas, alphaFits, epsilons, alphaPerLinear, dlpAlphas, atpBetas);
  }
}
