package ai.owl.zeroshot;

import ai.owl.calibration.PackedSequences;
import ai.owl.calibration.PackedSequences.ScoredSequence;
import ai.owl.calibration.RecordSource;
import ai.owl.calibration.TextTokenizer;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.model.ModelConfig;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/**
 * The items of some tasks, ready to be run through a model: all of their choices as token
 * sequences, and what is needed to turn log-probabilities into results.
 */
public final class TaskSuite {
  private final Scoring scoring;
  private final List<Entry> entries;
  private final PackedSequences sequences;
  private final List<String> warnings;

  private TaskSuite(
      Scoring scoring, List<Entry> entries, PackedSequences sequences, List<String> warnings) {
    this.scoring = scoring;
    this.entries = entries;
    this.sequences = sequences;
    this.warnings = warnings;
  }

  private record Entry(ZeroShotTask task, List<ScoredItem> items) {}

  /**
   * @param lengths of the choices in characters
   * @param tokens of the choices
   * @param answer number of the right choice
   */
  private record ScoredItem(int[] lengths, int[] tokens, int answer) {}

  /** A task and where its items lie. */
  public record Source(ZeroShotTask task, List<RecordSource> items) {}

  /**
   * How tasks are scored.
   *
   * @param limit how many items of each task, the first ones; all if zero
   * @param batchTokens how many tokens run through the model together; see {@link
   *     PackedSequences#of}
   */
  public record Options(Scoring scoring, int limit, int batchTokens) {
    public Options {
      if (limit < 0) {
        throw new IllegalArgumentException("Cannot use --limit " + limit + ": it is at least 1");
      }
      if (batchTokens < 1) {
        throw new IllegalArgumentException(
            "Cannot use --batch-tokens " + batchTokens + ": it is at least 1");
      }
    }
  }

  /**
   * Reads items and turns them into tokens.
   *
   * @param tokenizer of the model
   * @param bos the token that stands for the beginning of a text, if the model has one
   * @throws MalformedCheckpointException if an item lacks a field or does not fit the model, naming
   *     its line
   */
  public static TaskSuite read(
      List<Source> sources,
      Options options,
      ModelConfig config,
      TextTokenizer tokenizer,
      OptionalInt bos)
      throws IOException {
    List<Entry> entries = new ArrayList<>();
    List<List<ScoredSequence>> groups = new ArrayList<>();
    List<String> warnings = new ArrayList<>();
    for (Source source : sources) {
      Reading reading = new Reading(source.task(), options, config, tokenizer, bos, groups);
      for (RecordSource records : source.items()) {
        records.forEach(
            (place, fields) ->
                reading.add(new Item(source.task().name(), records.location(), place, fields)));
      }
      if (reading.items.isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot score task "
                + source.task().name()
                + ": "
                + source.items().stream()
                    .map(RecordSource::location)
                    .collect(Collectors.joining(", "))
                + (source.items().size() == 1 ? " holds" : " hold")
                + " no items");
      }
      entries.add(new Entry(source.task(), List.copyOf(reading.items)));
      reading.warning().ifPresent(warnings::add);
    }
    PackedSequences sequences = PackedSequences.of(groups, options.batchTokens());
    TokenSequences.of(groups.stream().flatMap(List::stream).map(ScoredSequence::tokens).toList())
        .requireVocabulary(config.vocabSize(), "the tasks' tokens");
    return new TaskSuite(options.scoring(), List.copyOf(entries), sequences, List.copyOf(warnings));
  }

  /** One task's items while they are read. */
  private static final class Reading {
    private final ZeroShotTask task;
    private final Options options;
    private final ModelConfig config;
    private final TextTokenizer tokenizer;
    private final OptionalInt bos;
    private final List<List<ScoredSequence>> groups;
    private final List<ScoredItem> items = new ArrayList<>();
    private int cut;

    Reading(
        ZeroShotTask task,
        Options options,
        ModelConfig config,
        TextTokenizer tokenizer,
        OptionalInt bos,
        List<List<ScoredSequence>> groups) {
      this.task = task;
      this.options = options;
      this.config = config;
      this.tokenizer = tokenizer;
      this.bos = bos;
      this.groups = groups;
    }

    void add(Item item) {
      if (options.limit() > 0 && items.size() >= options.limit()) {
        return;
      }
      ZeroShotTask.Put put = task.put(item);
      int limit = options.scoring().limit(config.maxPositions());
      List<ScoredSequence> group = new ArrayList<>();
      int[] tokens = new int[put.requests().size()];
      boolean isCut = false;
      for (int choice = 0; choice < tokens.length; choice++) {
        ZeroShotTask.Request request = put.requests().get(choice);
        int[][] ids =
            options.scoring().encode(request.context(), request.continuation(), tokenizer, bos);
        int[] context = ids[0];
        int[] continuation = ids[1];
        tokens[choice] = continuation.length;
        if (continuation.length > limit) {
          throw item.wrong(
              "is longer than the model's context: choice "
                  + choice
                  + " alone has "
                  + continuation.length
                  + " tokens, and the model sees "
                  + limit
                  + "; leave this item out of task "
                  + task.name());
        }
        if (context.length == 0 || continuation.length == 0) {
          throw item.wrong(
              "gives no token for the "
                  + (context.length == 0 ? "context" : "continuation")
                  + " of choice "
                  + choice
                  + ", so that task "
                  + task.name()
                  + " has nothing to predict");
        }
        group.add(Scoring.sequence(context, continuation, limit));
        isCut |= context.length + continuation.length > limit + 1;
      }
      cut += isCut ? 1 : 0;
      groups.add(group);
      items.add(new ScoredItem(put.lengths(), tokens, put.answer()));
    }

    Optional<String> warning() {
      return cut == 0
          ? Optional.empty()
          : Optional.of(
              String.format(
                  "%d of %d items of %s are longer than the %d tokens the model sees: their"
                      + " beginnings are left out, as lm-eval does it",
                  cut, items.size(), task.name(), options.scoring().limit(config.maxPositions())));
    }
  }

  /** What runs through the model. */
  public PackedSequences sequences() {
    return sequences;
  }

  /** Names of the tasks, in order. */
  public List<String> tasks() {
    return entries.stream().map(entry -> entry.task().name()).toList();
  }

  /** Number of items of all tasks. */
  public int items() {
    return entries.stream().mapToInt(entry -> entry.items().size()).sum();
  }

  /** What the user should know of the items. */
  public List<String> warnings() {
    return warnings;
  }

  /** Names all that results depend on but the model. */
  public String digest() {
    StringBuilder answers = new StringBuilder(scoring.label());
    for (Entry entry : entries) {
      answers.append('\n').append(entry.task().name());
      for (ScoredItem item : entry.items()) {
        answers.append(' ').append(item.answer()).append(Arrays.toString(item.lengths()));
      }
    }
    return sequences.digest() + "\n" + answers;
  }

  /**
   * The results of a model.
   *
   * @param logProbabilities of every batch's predictions
   * @throws MalformedCheckpointException if one is NaN or infinite
   */
  public ZeroShotResults results(List<double[]> logProbabilities) {
    List<double[]> scores = scores(logProbabilities);
    List<TaskResult> results = new ArrayList<>();
    int at = 0;
    for (Entry entry : entries) {
      List<ScoredItem> items = entry.items();
      List<double[]> own = scores.subList(at, at + items.size());
      at += items.size();
      List<TaskResult.Estimate> estimates = new ArrayList<>();
      for (TaskMetric metric : metrics(entry.task())) {
        boolean[] right = new boolean[items.size()];
        for (int i = 0; i < right.length; i++) {
          right[i] = choice(metric, own.get(i), items.get(i)) == items.get(i).answer();
        }
        estimates.add(TaskResult.Estimate.of(metric, right));
      }
      results.add(new TaskResult(entry.task().name(), items.size(), List.copyOf(estimates)));
    }
    return new ZeroShotResults(scoring, List.copyOf(results));
  }

  /** Scores that are means over tokens are not divided once more. */
  private List<TaskMetric> metrics(ZeroShotTask task) {
    return scoring == Scoring.OWL ? List.of(TaskMetric.ACC) : task.metrics();
  }

  /** What the model chooses. */
  private static int choice(TaskMetric metric, double[] scores, ScoredItem item) {
    int best = 0;
    double highest = Double.NEGATIVE_INFINITY;
    for (int choice = 0; choice < scores.length; choice++) {
      double score =
          metric == TaskMetric.ACC ? scores[choice] : scores[choice] / item.lengths()[choice];
      if (score > highest) {
        best = choice;
        highest = score;
      }
    }
    return best;
  }

  /** The scores of every item's choices. */
  private List<double[]> scores(List<double[]> logProbabilities) {
    List<double[]> found = sequences.bySequence(logProbabilities);
    List<double[]> scores = new ArrayList<>();
    int at = 0;
    for (Entry entry : entries) {
      for (int i = 0; i < entry.items().size(); i++) {
        double[] own = new double[entry.items().get(i).lengths().length];
        for (int choice = 0; choice < own.length; choice++) {
          own[choice] = scoring.score(found.get(at++));
          if (!Double.isFinite(own[choice])) {
            throw new MalformedCheckpointException(
                "Cannot score task "
                    + entry.task().name()
                    + ": the log-likelihood of choice "
                    + choice
                    + " of item "
                    + i
                    + " is "
                    + own[choice]
                    + "; the model's hidden states are not finite");
          }
        }
        scores.add(own);
      }
    }
    return scores;
  }

  /**
   * Every item's scores, for those who want to look into them: a JSON object a line.
   *
   * @param logProbabilities of every batch's predictions
   */
  public String samples(List<double[]> logProbabilities) {
    List<double[]> scores = scores(logProbabilities);
    StringBuilder lines = new StringBuilder();
    int at = 0;
    for (Entry entry : entries) {
      for (int i = 0; i < entry.items().size(); i++) {
        ScoredItem item = entry.items().get(i);
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        line.put("task", entry.task().name()).put("item", i).put("answer", item.answer());
        ArrayNode values = line.putArray("scores");
        for (double score : scores.get(at)) {
          values.add(score);
        }
        ArrayNode tokens = line.putArray("tokens");
        ArrayNode characters = line.putArray("characters");
        for (int choice = 0; choice < item.tokens().length; choice++) {
          tokens.add(item.tokens()[choice]);
          characters.add(item.lengths()[choice]);
        }
        lines.append(line).append('\n');
        at++;
      }
    }
    return lines.toString();
  }
}
