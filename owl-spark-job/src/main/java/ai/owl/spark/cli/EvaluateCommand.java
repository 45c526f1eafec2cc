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
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.TokenInput;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code owl evaluate}: the perplexity of a checkpoint. */
@Command(
    name = "evaluate",
    description = "Measures the perplexity of a checkpoint by the published protocol.",
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
      required = true,
      split = ",",
      paramLabel = "URI",
      description =
          "Text (.txt, .jsonl, .parquet, each also .gz), or token ids (.safetensors, tensor"
              + " 'evaluation'); or a folder of labelled images, for a model that reads those.")
  private List<String> text;

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
    try (ConsoleProgress progress = ConsoleProgress.standard();
        SparkSession session = SparkContexts.open("evaluate")) {
      JavaSparkContext spark = JavaSparkContext.fromSparkContext(session.sparkContext());
      Storage storage = new HadoopStorage(spark.hadoopConfiguration());
      // What can be refused at once is refused before any text is tokenized.
      ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
      JsonFile.requireWritable(storage, json);
      progress.say(InspectCommand.summary(model, layout));
      Samples samples =
          new TokenInput(spark.hadoopConfiguration(), storage)
              .evaluation(layout, text, "--text", model, length, windows);
      Quality quality = new SparkPipeline(spark, storage, progress).evaluate(model, samples);
      ObjectNode result = JsonNodeFactory.instance.objectNode();
      result.put("model", model);
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
      if (json != null) {
        Map<String, Object> inputs = new LinkedHashMap<>();
        inputs.put("text", text);
        result.set("provenance", Invocation.provenance(spark, inputs).toJson());
        JsonFile.write(storage, json, result);
      }
      return Main.DONE;
    }
  }

  private static int longest(TokenSequences tokens) {
    return tokens.sequences().stream().mapToInt(ids -> ids.length).max().orElseThrow();
  }
}
