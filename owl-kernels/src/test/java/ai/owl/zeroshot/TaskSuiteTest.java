package ai.owl.zeroshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.owl.calibration.PackedSequences.ScoredSequence;
import ai.owl.calibration.RecordSource;
import ai.owl.calibration.SampleTokenizers;
import ai.owl.calibration.TextTokenizer;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.model.ModelConfig;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TaskSuiteTest {
  private static final int BOS = 1;

  private final TextTokenizer tokenizer = SampleTokenizers.load(SampleTokenizers.BYTE_FALLBACK);
  private final MemoryStorage storage = new MemoryStorage();

  @AfterEach
  void close() {
    tokenizer.close();
  }

  @Test
  void splitsTokensWhereTheContextAloneEnds() {
    int[][] ids = encode(Scoring.LM_EVAL, "What is wet?", " rain and sand");
    int[] whole = tokenizer.encode("What is wet? rain and sand");
    assertThat(whole[0]).as("the tokenizer begins texts with a token").isEqualTo(BOS);
    assertThat(ids[0]).isEqualTo(tokenizer.encode("What is wet?"));
    assertThat(ids[1]).isEqualTo(Arrays.copyOfRange(whole, ids[0].length, whole.length));
  }

  @Test
  void movesSpaceAtTheEndOfTheContextToTheContinuation() {
    assertThat(encode(Scoring.LM_EVAL, "What is wet? \n", " rain"))
        .isDeepEqualTo(encode(Scoring.LM_EVAL, "What is wet?", " \n rain"));
  }

  @Test
  void beginsAnEmptyContextWithTheTokenOfTheBeginning() {
    int[] rain = tokenizer.encode(" rain", false);
    assertThat(encode(Scoring.LM_EVAL, "", " rain")).isDeepEqualTo(new int[][] {{BOS}, rain});
    // Where the continuation brings it, or there is none, its first token is the context.
    int[] rest = Arrays.copyOfRange(rain, 1, rain.length);
    for (OptionalInt bos : List.of(OptionalInt.of(rain[0]), OptionalInt.empty())) {
      assertThat(Scoring.LM_EVAL.encode("", " rain", tokenizer, bos))
          .isDeepEqualTo(new int[][] {{rain[0]}, rest});
    }
  }

  @Test
  void addsNoSecondBeginning() {
    int[][] ids = encode(Scoring.LM_EVAL, tokenizer.decode(new int[] {BOS}) + "What?", " rain");
    assertThat(Arrays.stream(ids[0]).filter(id -> id == BOS).count()).isEqualTo(1);
  }

  @Test
  void tokenizesContextAndContinuationApartAsOwlDoes() {
    int[][] ids = encode(Scoring.OWL, "Why ﬁre?", " ½ rain");
    assertThat(ids[0]).isEqualTo(tokenizer.encode("Why fire?", false)).doesNotContain(BOS);
    assertThat(ids[1]).isEqualTo(tokenizer.encode(" 1⁄2 rain", false)).doesNotContain(BOS);
    assertThat(Scoring.OWL.limit(4096)).isEqualTo(1024);
    assertThat(Scoring.OWL.limit(512)).isEqualTo(512);
    assertThat(Scoring.OWL.score(new double[] {-1, -2, -6})).isEqualTo(-3);
    assertThat(Scoring.LM_EVAL.score(new double[] {-1, -2, -6})).isEqualTo(-9);
  }

  @Test
  void cutsLongSequencesAtTheirBeginning() {
    ScoredSequence sequence = Scoring.sequence(new int[] {1, 2, 3, 4}, new int[] {5, 6}, 3);
    assertThat(sequence.tokens()).containsExactly(3, 4, 5, 6);
    assertThat(sequence.scored()).isEqualTo(2);
    assertThat(Scoring.sequence(new int[] {1, 2}, new int[] {5, 6}, 3).tokens()).hasSize(4);
    assertThat(Scoring.sequence(new int[] {1, 2}, new int[] {5, 6}, 2).tokens())
        .containsExactly(2, 5, 6);
  }

  /** Three items, and a model that gives every token of a choice the same. */
  @Test
  void countsWhatIsChosenRight() throws IOException {
    TaskSuite suite =
        read(
            "arc_easy",
            100,
            arc("A", "ab", "abcdef"),
            arc("B", "ab", "abcdef"),
            arc("A", "same", "same"));
    assertThat(suite.tasks()).containsExactly("arc_easy");
    assertThat(suite.items()).isEqualTo(3);
    assertThat(suite.warnings()).isEmpty();
    // Short choices win by their sum, and the longer ones by what is left for each character.
    List<double[]> found = logProbabilities(suite, choice -> choice == 0 ? -3 : -4);
    TaskResult result = suite.results(found).tasks().get(0);
    assertThat(result.items()).isEqualTo(3);
    TaskResult.Estimate acc = result.estimate(TaskMetric.ACC).orElseThrow();
    assertThat(acc.value()).isCloseTo(2.0 / 3, within(1e-15));
    // sqrt((1/9 + 1/9 + 4/9) / 2) / sqrt(3)
    assertThat(acc.standardError()).isCloseTo(1.0 / 3, within(1e-15));
    // −3/2 against −4/6: the second of the first two items; −3/4 against −4/4.
    assertThat(result.estimate(TaskMetric.ACC_NORM).orElseThrow().value())
        .isCloseTo(2.0 / 3, within(1e-15));
    // Of equals the first.
    List<double[]> equal = logProbabilities(suite, choice -> -1);
    assertThat(suite.results(equal).mean()).isCloseTo(2.0 / 3, within(1e-15));
    assertThat(suite.samples(found).lines()).hasSize(3);
    assertThat(suite.samples(found))
        .startsWith("{\"task\":\"arc_easy\",\"item\":0,\"answer\":0,\"scores\":[-3.0,-4.0]");
  }

  @Test
  void hasNoStandardErrorForOneItem() throws IOException {
    TaskSuite suite = read("boolq", 100, "{'passage': 'p', 'question': 'q', 'label': 0}");
    ZeroShotResults results = suite.results(logProbabilities(suite, choice -> -1));
    assertThat(results.toJson())
        .hasToString(
            "{\"scoring\":\"lm-eval\",\"fewShot\":0,\"tasks\":{\"boolq\":{\"items\":1,\"acc\":1.0,"
                + "\"acc_stderr\":null}},\"mean\":{\"acc\":1.0}}");
  }

  @Test
  void refusesScoresThatAreNoNumbers() throws IOException {
    TaskSuite suite = read("arc_easy", 100, arc("A", "a", "b"));
    List<double[]> found = logProbabilities(suite, choice -> choice == 0 ? -1 : Double.NaN);
    assertThatThrownBy(() -> suite.results(found))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessage(
            "Cannot score task arc_easy: the log-likelihood of choice 1 of item 0 is NaN; the"
                + " model's hidden states are not finite");
  }

  @Test
  void saysWhatItCutsAndRefusesChoicesThatDoNotFit() throws IOException {
    String wide = arc("A", "ab", "cd").replace("Q", "long ".repeat(40));
    assertThat(read("arc_easy", 30, arc("A", "ab", "cd"), wide).warnings())
        .containsExactly(
            "1 of 2 items of arc_easy are longer than the 30 tokens the model sees: their"
                + " beginnings are left out, as lm-eval does it");
    assertThatThrownBy(() -> read("arc_easy", 30, arc("A", "ab", "cd".repeat(40))))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageMatching(
            "Cannot read items.jsonl: line 1 is longer than the model's context: choice 1 alone has"
                + " \\d+ tokens, and the model sees 30; leave this item out of task arc_easy");
    assertThatThrownBy(() -> read("arc_easy", 30, ""))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot score task arc_easy: items.jsonl holds no items");
  }

  @Test
  void takesTheFirstItemsOnly() throws IOException {
    storage.files.put("items.jsonl", lines(arc("A", "a", "b"), arc("A", "c", "d"), "{}"));
    TaskSuite suite = read("arc_easy", new TaskSuite.Options(Scoring.OWL, 2, 100), 100);
    assertThat(suite.items()).isEqualTo(2);
    ZeroShotResults results = suite.results(logProbabilities(suite, choice -> -1));
    assertThat(results.tasks().get(0).estimates())
        .extracting(TaskResult.Estimate::metric)
        .containsExactly(TaskMetric.ACC);
    assertThatThrownBy(() -> new TaskSuite.Options(Scoring.OWL, -1, 100))
        .hasMessage("Cannot use --limit -1: it is at least 1");
    assertThatThrownBy(() -> new TaskSuite.Options(Scoring.OWL, 0, 0))
        .hasMessage("Cannot use --batch-tokens 0: it is at least 1");
  }

  private static String arc(String answer, String first, String second) {
    return "{'question': 'Q', 'choices': {'text': ['%s', '%s'], 'label': ['A', 'B']}, 'answerKey': '%s'}"
        .formatted(first, second, answer);
  }

  private int[][] encode(Scoring scoring, String context, String continuation) {
    return scoring.encode(context, continuation, tokenizer, OptionalInt.of(BOS));
  }

  private TaskSuite read(String task, int positions, String... items) throws IOException {
    storage.files.put("items.jsonl", lines(items));
    return read(task, new TaskSuite.Options(Scoring.LM_EVAL, 0, 100), positions);
  }

  private TaskSuite read(String task, TaskSuite.Options options, int positions) throws IOException {
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    config.putArray("architectures").add("LlamaForCausalLM");
    config.put("hidden_size", 8).put("intermediate_size", 8).put("num_hidden_layers", 1);
    config.put("num_attention_heads", 1).put("vocab_size", 100_000).put("rms_norm_eps", 1e-5);
    config.put("max_position_embeddings", positions);
    return TaskSuite.read(
        List.of(
            new TaskSuite.Source(
                ZeroShotTask.named(task), List.of(RecordSource.of(storage, "items.jsonl")))),
        options,
        ModelConfig.parse(config, "model"),
        tokenizer,
        OptionalInt.of(BOS));
  }

  private static byte[] lines(String... items) {
    return String.join("\n", items).replace('\'', '"').getBytes(StandardCharsets.UTF_8);
  }

  /** What every choice scores, spread evenly over its tokens; choices come in pairs. */
  private static List<double[]> logProbabilities(
      TaskSuite suite, ToDoubleFunction<Integer> scoreOfChoice) {
    List<double[]> batches = new ArrayList<>();
    for (int i = 0; i < suite.sequences().count(); i++) {
      batches.add(new double[suite.sequences().targets(i).length]);
    }
    // Where each sequence's predictions lie is what bySequence says of their numbers.
    double number = 0;
    for (double[] batch : batches) {
      for (int j = 0; j < batch.length; j++) {
        batch[j] = number++;
      }
    }
    List<double[]> numbers = suite.sequences().bySequence(batches);
    List<Double> values = new ArrayList<>();
    for (int s = 0; s < numbers.size(); s++) {
      for (int j = 0; j < numbers.get(s).length; j++) {
        // All in the first token, so that sums are exact.
        values.add(j == 0 ? scoreOfChoice.applyAsDouble(s % 2) : 0);
      }
    }
    int at = 0;
    for (double[] batch : batches) {
      for (int j = 0; j < batch.length; j++) {
        batch[j] = values.get(at++);
      }
    }
    return batches;
  }
}
