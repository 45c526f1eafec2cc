package ai.owl.spark.cli;

import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.TextGenerator;
import ai.owl.kernel.Blas;
import ai.owl.model.ModelLayout;
import ai.owl.spark.storage.HadoopStorage;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code owl generate}: lets a checkpoint continue a text. */
@Command(
    name = "generate",
    description =
        "Lets a checkpoint, pruned or not, continue a text. Holds the whole model in this process.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class GenerateCommand implements Callable<Integer> {
  private static final int MAX_POSITIONS = 1 << 20;

  @Option(
      names = "--model",
      required = true,
      paramLabel = "URI",
      description = "Folder of the checkpoint, with its tokenizer.json.")
  private String model;

  @Option(
      names = "--prompt",
      required = true,
      paramLabel = "TEXT",
      description = "The text to continue; may be empty if the tokenizer adds a first token.")
  private String prompt;

  @Option(
      names = "--tokens",
      defaultValue = "100",
      paramLabel = "N",
      description = "Tokens to add at most. Default: 100.")
  private int tokens;

  @Option(
      names = "--temperature",
      defaultValue = "0",
      paramLabel = "T",
      description = "0: the likeliest token every time. Above: draw. Default: 0.")
  private double temperature;

  @Option(
      names = "--seed",
      defaultValue = "0",
      paramLabel = "SEED",
      description = "Seed of the draws. Default: 0.")
  private long seed;

  @Override
  public Integer call() throws Exception {
    requireUsable();
    Storage storage = new HadoopStorage(SparkHadoopUtil.get().newConfiguration(new SparkConf()));
    ModelLayout layout = ModelLayout.of(Checkpoint.open(storage, model));
    requireMemory(layout);
    Blas.setThreads(Runtime.getRuntime().availableProcessors());
    try (TextTokenizer tokenizer = TextTokenizer.load(storage, model)) {
      int[] ids = tokenizer.encode(prompt);
      if (ids.length == 0) {
        throw new IllegalArgumentException(
            "Cannot continue --prompt \"\": the tokenizer makes no token of it; give some text");
      }
      TokenSequences.of(List.of(ids))
          .requireVocabulary(layout.config().vocabSize(), "the tokens of --prompt");
      int positions = layout.config().maxPositions();
      if (tokens > MAX_POSITIONS - ids.length) {
        throw new IllegalArgumentException(
            "Cannot use --tokens "
                + tokens
                + ": prompt and text together are limited to "
                + MAX_POSITIONS
                + " tokens");
      }
      if (ids.length + tokens > positions) {
        System.err.println(
            "note: "
                + (ids.length + tokens)
                + " tokens are more than the "
                + positions
                + " positions the model was made for");
      }
      try (TextGenerator generator = TextGenerator.load(storage, model)) {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Continuation text = new Continuation(tokenizer, ids, out);
        generator.generate(ids, tokens, temperature, seed, text::add);
        text.end();
      }
    }
    return Main.DONE;
  }

  private void requireUsable() {
    if (tokens < 1) {
      throw new IllegalArgumentException("Cannot use --tokens " + tokens + ": it is at least 1");
    }
    if (!(temperature >= 0 && temperature < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          "Cannot use --temperature " + temperature + ": it is 0 or more");
    }
    if (prompt.indexOf('\uFFFD') >= 0 || prompt.chars().anyMatch(c -> c == 0)) {
      throw new IllegalArgumentException(
          "Cannot use this --prompt: it is not text in "
              + System.getProperty("sun.jnu.encoding")
              + ", which this terminal's locale says; type it in UTF-8, with LC_ALL=C.UTF-8");
    }
  }

  /**
   * Weights are loaded outside of the heap, where the system, not Java, says that memory is out.
   */
  private void requireMemory(ModelLayout layout) {
    long needed = 4 * (layout.prunableWeights() + layout.head().elements());
    java.lang.management.OperatingSystemMXBean system =
        java.lang.management.ManagementFactory.getOperatingSystemMXBean();
    if (system instanceof com.sun.management.OperatingSystemMXBean machine
        && needed > machine.getTotalMemorySize()) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "Cannot generate with %s on this machine: it takes %.1f GiB as float32, and there are"
                  + " %.1f GiB; measure it with owl evaluate, which needs a block at a time",
              model,
              needed / 0x1p30,
              machine.getTotalMemorySize() / 0x1p30));
    }
  }

  /** Prints a growing text as far as it is settled: a character may need several tokens. */
  private static final class Continuation {
    private final TextTokenizer tokenizer;
    private final PrintStream out;
    private int[] ids;
    private int printed;

    Continuation(TextTokenizer tokenizer, int[] prompt, PrintStream out) {
      this.tokenizer = tokenizer;
      this.ids = prompt;
      this.out = out;
      print(tokenizer.text(ids));
    }

    void add(int id) {
      ids = Arrays.copyOf(ids, ids.length + 1);
      ids[ids.length - 1] = id;
      String text = tokenizer.text(ids);
      if (!text.endsWith("\uFFFD")) {
        print(text);
      }
    }

    void end() {
      print(tokenizer.text(ids));
      out.println();
    }

    private void print(String text) {
      if (text.length() > printed) {
        out.print(text.substring(printed));
        out.flush();
        printed = text.length();
      }
    }
  }
}
