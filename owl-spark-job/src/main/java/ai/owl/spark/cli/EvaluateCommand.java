package ai.owl.spark.cli;

import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.Accuracy;
import ai.owl.evaluation.Perplexity;
import ai.owl.evaluation.Quality;
import ai.owl.model.ModelLayout;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.report.ReportTable;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.TokenInput;
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotResults;
import ai.owl.zeroshot.ZeroShotTask;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code owl evaluate}: the perplexity of a checkpoint, and how well it does at tasks. */
@Command(
    name = "evaluate",
    description =
        "Measures the perplexity of a checkpoint by the published protocol, and its accuracy at"
            + " zero-shot tasks as lm-evaluation-harness does.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class EvaluateCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "URI",
      description = "Folder of the checkpoint, pruned or not.")
  private String model;

  @Option(
      names = {"--text", "--images"},
      split = ",",
      paramLabel = "URI",
      description =
          "Text (.txt, .jsonl, .parquet, each also .gz), or token ids (.safetensors, tensor"
              + " 'evaluation'); or a folder of labelled images, for a model that reads those.")
  private List<String> text = List.of();

  @Option(
      names = "--length",
      defaultValue = "2048",
      paramLabel = "T",
      description =
          "Tokens of a window. Perplexities at different T do not compare. Default: 2048.")
  private int length;

  @Option(
      names = "--windows",
      defaultValue = "0",
      paramLabel = "N",
      description = "Use only the first N windows. Default: all.")
  private int windows;

  @Option(
      names = "--tasks",
      split = ",",
      paramLabel = "NAME",
      description =
          "Zero-shot tasks: boolq, rte, hellaswag, winogrande, arc_easy, arc_challenge, openbookqa.")
  private List<String> tasks = List.of();

  @Mixin private TaskFlags taskFlags;

  @Mixin private ComputeFlags computeFlags;

  @Option(
      names = "--log-samples",
      paramLabel = "FILE",
      description = "Also write the scores of every item's choices to FILE, as JSON lines.")
  private String samplesFile;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Also write the result as JSON to FILE.")
  private String json;

  @Override
  public Integer call() throws Exception {
    if (windows < 0) {
      throw new IllegalArgumentException(
          "Cannot use --windows " + windows + ": it must be positive");
    }
    boolean triesTasks = !tasks.isEmpty() || !taskFlags.files().isEmpty();
    if (text.isEmpty() && !triesTasks) {
      throw new IllegalArgumentException(
          "Cannot evaluate "
              + model
              + ": give --text for its perplexity, --images for its accuracy, or --tasks");
    }
    if (samplesFile != null && !triesTasks) {
      throw new IllegalArgumentException(
          "Cannot use --log-samples without --tasks: it holds the scores of their items");
    }
    if (samplesFile != null && samplesFile.equals(json)) {
      throw new IllegalArgumentException(
          "Cannot write --log-samples " + samplesFile + ": --json writes to the same file");
    }
    List<ZeroShotTask> asked = TaskInput.named(tasks, "--tasks");
    TaskSuite.Options options = taskFlags.options(tasks, "--tasks");
    String data = triesTasks ? taskFlags.data("--tasks") : "";
    try (ConsoleProgress progress = ConsoleProgress.standard();
        SparkSession session =
            SparkContexts.open("evaluate", SparkContexts.PRUNED_MODELS, computeFlags.compute())) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      // What can be refused at once is refused before any text is tokenized.
      ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
      JsonFile.requireWritable(storage, "--json", json);
      JsonFile.requireWritable(storage, "--log-samples", samplesFile);
      progress.say(InspectCommand.summary(model, layout));
      computeFlags.announce(progress);
      SparkPipeline pipeline =
          new SparkPipeline(spark, storage, progress).withCompute(computeFlags.compute());
      ObjectNode result = JsonNodeFactory.instance.objectNode();
      result.put("model", model);
      result.put("compute", computeFlags.compute().toString());
      Map<String, Object> inputs = new LinkedHashMap<>();
      Optional<TaskSuite> suite = Optional.empty();
      double seconds = 0; // for the tasks
      if (triesTasks) {
        long start = System.nanoTime();
        TaskInput input = new TaskInput(spark.hadoopConfiguration(), storage);
        suite = Optional.of(input.read(asked, taskFlags.files(), data, options, layout, model));
        input.requireNotRead("--json", json);
        input.requireNotRead("--log-samples", samplesFile);
        progress.say("tasks: " + TaskInput.summary(suite.get()));
        taskFlags.describe(inputs, tasks);
        seconds += (System.nanoTime() - start) / 1e9;
      }
      if (!text.isEmpty()) {
        Samples samples =
            new TokenInput(spark.hadoopConfiguration(), storage)
                .evaluation(layout, text, "--text", model, length, windows);
        inputs.put("text", text);
        report(pipeline.evaluate(model, samples), samples, result);
      }
      if (suite.isPresent()) {
        long start = System.nanoTime();
        List<double[]> found = pipeline.logProbabilities(model, suite.get());
        ZeroShotResults results = suite.get().results(found);
        System.out.print(ReportTable.of(results));
        seconds += (System.nanoTime() - start) / 1e9;
        result.set("zeroShot", results.toJson());
        result.putObject("seconds").put("tasks", seconds);
        if (samplesFile != null) {
          storage.writeAll(
              samplesFile, suite.get().samples(found).getBytes(StandardCharsets.UTF_8));
        }
      }
      if (json != null) {
        result.set("provenance", Invocation.provenance(spark, inputs).toJson());
        JsonFile.write(storage, json, result);
      }
      return Main.DONE;
    }
  }

  private static void report(Quality quality, Samples samples, ObjectNode result) {
    result.put(quality.name(), quality.value());
    if (quality instanceof Perplexity perplexity) {
      int longest = longest((TokenSequences) samples);
      System.out.printf(
          Locale.ROOT,
          "perplexity %.4f over %d windows of %d tokens%n",
          perplexity.value(),
          perplexity.windows(),
          longest);
      result.put("windows", perplexity.windows());
      result.put("length", longest);
      result.put("tokens", perplexity.tokens());
    } else {
      Accuracy accuracy = (Accuracy) quality;
      System.out.printf(
          Locale.ROOT,
          "top-1 accuracy %.2f %%: %d of %d images%n",
          100 * accuracy.value(),
          accuracy.correct(),
          accuracy.images());
      result.put("correct", accuracy.correct());
      result.put("images", accuracy.images());
    }
  }

  private static int longest(TokenSequences tokens) {
    return tokens.sequences().stream().mapToInt(ids -> ids.length).max().orElseThrow();
  }
}
