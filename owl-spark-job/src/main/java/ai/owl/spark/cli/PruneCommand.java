package ai.owl.spark.cli;

import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.Samples;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.kernel.RowCode;
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
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotTask;
import com.fasterxml.jackson.databind.node.ObjectNode;
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
import picocli.CommandLine.Option;

/** {@code owl prune}: from a checkpoint to a pruned one. */
@Command(
    name = "prune",
    description = "Prunes a checkpoint and writes the pruned one.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class PruneCommand implements Callable<Integer> {
  private static final String REPORT = "_owl/report.json";
  private static final int LARGEST_REPORT = 1 << 28;

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
              + " tensor 'calibration'), or a folder of images for a model that reads those. Not"
              + " needed for magnitude with an allocation that looks at no activations: uniform,"
              + " global, er, lamp, alpha, atp, ratios.")
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

  @Mixin private AllocationFlags allocationFlags;

  @Option(
      names = "--propagation",
      defaultValue = "sequential",
      paramLabel = "NAME",
      description =
          "Where statistics come from: sequential (behind pruned blocks, as published) or dense"
              + " (one pass, faster). Default: ${DEFAULT-VALUE}.")
  private Propagation propagation;

  @Mixin private CalibrationFlags sampled;

  @Option(
      names = "--evaluate",
      split = ",",
      paramLabel = "URI",
      description =
          "Text or token ids (tensor 'evaluation') to measure perplexity on, before and after; or"
              + " a folder of labelled images, for top-1 accuracy.")
  private List<String> evaluate = List.of();

  @Option(
      names = "--evaluate-tasks",
      split = ",",
      paramLabel = "NAME",
      description =
          "Zero-shot tasks to try the dense model and the pruned one at: boolq, rte, hellaswag,"
              + " winogrande, arc_easy, arc_challenge, openbookqa.")
  private List<String> evaluateTasks = List.of();

  @Mixin private TaskFlags taskFlags;

  @Mixin private ComputeFlags computeFlags;

  @Option(
      names = "--statistics",
      paramLabel = "URI",
      description =
          "Folder where what is measured of the dense model is kept, and looked for first: the next"
              + " run with the same model and tokens makes no pass through it.")
  private Optional<String> statistics = Optional.empty();

  @Option(
      names = "--keep-grams",
      description =
          "With sparsegpt and dense propagation, also keep the Gram matrices in --statistics, which"
              + " is large: 4 bytes x in_features squared for each input of each block.")
  private boolean keepGrams;

  @Option(
      names = "--checkpoint-interval",
      defaultValue = "" + SparkPipeline.CHECKPOINT_INTERVAL,
      paramLabel = "K",
      description =
          "Keep the hidden states every K blocks beside --output, so that a run that is broken off"
              + " does not begin its passes again; 0 keeps none. They take sequences x length x"
              + " hidden size x 4 bytes. Default: ${DEFAULT-VALUE}.")
  private int checkpointInterval;

  @Option(
      names = "--overwrite",
      description =
          "Replace what is already in --output. Without it only a run that was broken off is gone on"
              + " with, by the same command.")
  private boolean overwrite;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Also write the result as JSON to FILE.")
  private String json;

  @Override
  public Integer call() throws Exception {
    allocationFlags.requireTaken();
    // What is out of range is refused at once; of a list, all but the list.
    PruneOptions asked =
        new PruneOptions(
            model,
            output,
            isSparsityOfList()
                ? new SparsityPattern.Unstructured(0) // until the list is read
                : PrunerFlags.pattern(pattern, sparsity),
            flags.pruner(metric),
            allocationFlags.isList()
                ? new Uniform()
                : allocationFlags.allocator(flags.pruner(metric)),
            flags.rounding(),
            propagation,
            overwrite,
            computeFlags.compute());
    if (keepGrams
        && (statistics.isEmpty() || !asked.prunesOnTheWay() || propagation != Propagation.DENSE)) {
      throw new IllegalArgumentException(
          "Cannot use --keep-grams without --statistics, --metric sparsegpt and --propagation"
              + " dense: Gram matrices behind pruned blocks serve no other run");
    }
    if (checkpointInterval < 0) {
      throw new IllegalArgumentException(
          "Cannot use --checkpoint-interval " + checkpointInterval + ": it is at least 0");
    }
    List<ZeroShotTask> tasks = TaskInput.named(evaluateTasks, "--evaluate-tasks");
    TaskSuite.Options taskOptions = taskFlags.options(evaluateTasks, "--evaluate-tasks");
    boolean triesTasks = !tasks.isEmpty() || !taskFlags.files().isEmpty();
    String taskData = triesTasks ? taskFlags.data("--evaluate-tasks") : "";
    try (ConsoleProgress progress = ConsoleProgress.standard();
        SparkSession session =
            SparkContexts.open(
                "prune", code(asked, !evaluate.isEmpty() || triesTasks), asked.compute())) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      // What can be refused at once is refused before any text is tokenized.
      ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
      PruneOptions options = allocationFlags.isList() ? withList(asked, layout, storage) : asked;
      OutputCheckpoint.requireFree(storage, options);
      JsonFile.requireWritable(storage, "--json", json);
      progress.say(InspectCommand.summary(model, layout));
      if (options.needsCalibration() || !evaluate.isEmpty() || triesTasks) {
        computeFlags.announce(progress);
      }
      TokenInput input = new TokenInput(spark.hadoopConfiguration(), storage);
      Optional<Samples> sequencesToObserve = Optional.empty();
      Map<String, Object> inputs = new LinkedHashMap<>();
      if (!calibration.isEmpty() && options.needsCalibration()) {
        sequencesToObserve = Optional.of(sampled.read(input, layout, calibration, model));
        sampled.describe(inputs, calibration);
        progress.say("calibration: " + TokenInput.summary(sequencesToObserve.get()));
      }
      if (!calibration.isEmpty() && !options.needsCalibration()) {
        progress.say(
            "--calibration is not read: "
                + metric
                + " with "
                + allocationFlags
                + " looks at no activations");
      }
      Optional<Samples> windows = Optional.empty();
      if (!evaluate.isEmpty()) {
        windows =
            Optional.of(
                input.evaluation(layout, evaluate, "--evaluate", model, sampled.length(), 0));
        TokenInput.describe(inputs, evaluate, sampled.length());
        progress.say("evaluation: " + TokenInput.summary(windows.get()));
      }
      SparkPipeline pipeline =
          new SparkPipeline(spark, storage, progress).withCheckpointInterval(checkpointInterval);
      if (triesTasks) {
        TaskInput taskInput = new TaskInput(spark.hadoopConfiguration(), storage);
        TaskSuite suite =
            taskInput.read(tasks, taskFlags.files(), taskData, taskOptions, layout, model);
        taskInput.requireNotRead("--json", json);
        progress.say("tasks: " + TaskInput.summary(suite));
        taskFlags.describe(inputs, evaluateTasks);
        pipeline = pipeline.withTasks(suite);
      }
      if (statistics.isPresent()) {
        pipeline = pipeline.withStatistics(statistics.get(), keepGrams);
      }
      String html = Storage.resolve(output, "_owl/report.html");
      PruneReport report =
          pipeline.prune(
              options,
              sequencesToObserve,
              windows,
              finished -> write(storage, html, finished, Invocation.provenance(spark, inputs)));
      System.out.print(ReportTable.of(report));
      if (json != null) {
        storage.writeAll(json, storage.readAll(Storage.resolve(output, REPORT), LARGEST_REPORT));
      }
      System.out.println("written to " + output + ", report: " + html);
      return Main.DONE;
    }
  }

  /** What a run computes with, in the order in which it does. */
  static List<RowCode.Group> code(PruneOptions options, boolean evaluates) {
    List<RowCode.Group> code = new ArrayList<>();
    if (options.needsCalibration() || evaluates) {
      code.add(RowCode.Group.FORWARD);
    }
    code.add(RowCode.Group.SELECTION);
    if (options.prunesOnTheWay()) {
      code.add(RowCode.Group.COMPENSATION);
    }
    boolean isSequential =
        options.pruner().needsStatistics() && options.propagation() == Propagation.SEQUENTIAL;
    if (isSequential || evaluates) {
      code.add(RowCode.Group.SPARSE);
    }
    return code;
  }

  private void write(Storage storage, String html, PruneReport report, Provenance provenance)
      throws IOException {
    storage.writeAll(html, HtmlReport.of(report, provenance).getBytes(StandardCharsets.UTF_8));
    ObjectNode result = report.toJson();
    result.set("provenance", provenance.toJson());
    JsonFile.write(storage, Storage.resolve(output, REPORT), result);
  }

  /** The options with somebody's own list, checked against the model before any text is read. */
  private PruneOptions withList(PruneOptions asked, ModelLayout layout, Storage storage)
      throws IOException {
    GivenRatios ratios = allocationFlags.read(storage);
    List<LayerProfile> shapes = layout.blocks().stream().map(LayerProfile::ofShapes).toList();
    double target = isSparsityOfList() ? ratios.mean(shapes) : asked.sparsity();
    ratios.allocate(shapes, target); // refuses what does not fit
    return asked.withSparsity(target).withAllocator(ratios);
  }

  /** Whether nobody says the sparsity but somebody's own list. */
  private boolean isSparsityOfList() {
    return allocationFlags.isList() && sparsity.isEmpty() && pattern.kept() == 0;
  }
}
