package ai.owl.zeroshot;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A multiple-choice task, as data: how the fields of an item make what a model is asked. The known
 * ones are those that pruning papers report, with lm-evaluation-harness 0.4's templates.
 *
 * @param name as lm-evaluation-harness calls it
 * @param form how an item is put
 * @param answer where an item says which choice is right
 * @param split of its data set whose items lm-evaluation-harness scores, such as {@code test};
 *     empty if that is not known
 * @param metrics that are reported of it
 */
public record ZeroShotTask(
    String name, Form form, Answer answer, String split, List<TaskMetric> metrics)
    implements Serializable {
  private static final List<TaskMetric> ACC = List.of(TaskMetric.ACC);
  private static final String TEST = "test";
  private static final String VALIDATION = "validation";
  private static final List<TaskMetric> BOTH = List.of(TaskMetric.ACC, TaskMetric.ACC_NORM);

  /** The seven tasks of the OWL and Wanda papers, in their order. */
  public static final List<ZeroShotTask> KNOWN =
      List.of(
          new ZeroShotTask(
              "boolq",
              new Form.Question(
                  new Template("{{passage}}\nQuestion: {{question}}?\nAnswer:"),
                  new Choices.Fixed(List.of("no", "yes"))),
              new Answer.Field(List.of("label", "answer"), 0),
              VALIDATION,
              ACC),
          new ZeroShotTask(
              "rte",
              new Form.Question(
                  new Template("{{sentence1}}\nQuestion: {{sentence2}} True or False?\nAnswer:"),
                  new Choices.Fixed(List.of("True", "False"))),
              new Answer.Field(List.of("label"), 0),
              VALIDATION,
              ACC),
          new ZeroShotTask(
              "hellaswag",
              new Form.WikiHow(
                  new Template("{{activity_label}}: {{ctx_a}} {{ctx_b|capitalize}}"),
                  new Choices.Field("endings")),
              new Answer.Field(List.of("label"), 0),
              VALIDATION,
              BOTH),
          new ZeroShotTask(
              "winogrande",
              new Form.Blank("sentence", List.of("option1", "option2")),
              new Answer.Field(List.of("answer"), 1),
              VALIDATION,
              ACC),
          arc("arc_easy"),
          arc("arc_challenge"),
          new ZeroShotTask(
              "openbookqa",
              new Form.Question(
                  new Template("{{question_stem}}"), new Choices.Field("choices.text")),
              new Answer.Label("choices.label", "answerKey"),
              TEST,
              BOTH));

  private static ZeroShotTask arc(String name) {
    return new ZeroShotTask(
        name,
        new Form.Question(
            new Template("Question: {{question}}\nAnswer:"), new Choices.Field("choices.text")),
        new Answer.Label("choices.label", "answerKey"),
        TEST,
        BOTH);
  }

  /**
   * A known task.
   *
   * @throws IllegalArgumentException naming those that are known, if it is none of them
   */
  public static ZeroShotTask named(String name) {
    Optional<ZeroShotTask> task =
        KNOWN.stream().filter(known -> known.name().equals(name)).findFirst();
    return task.orElseThrow(
        () ->
            new IllegalArgumentException(
                "Cannot score task "
                    + name
                    + ": it is unknown; known are "
                    + KNOWN.stream().map(ZeroShotTask::name).collect(Collectors.joining(", "))
                    + "; --task FILE.yaml describes another"));
  }

  /**
   * What a model is asked for one item.
   *
   * @param requests one a choice
   * @param lengths of the choices in characters
   * @param answer number of the right choice
   */
  record Put(List<Request> requests, int[] lengths, int answer) {}

  /** How likely is the continuation behind the context? */
  record Request(String context, String continuation) {}

  /** Puts an item into the task's words. */
  Put put(Item item) {
    List<String> choices = form.choices(item);
    if (choices.size() < 2) {
      throw item.wrong("has one choice only, " + choices + ", which any model finds: task " + name);
    }
    return new Put(
        form.requests(item, choices),
        choices.stream().mapToInt(PythonText::length).toArray(),
        answer.of(item, choices));
  }

  /** Where choices come from. */
  sealed interface Choices extends Serializable {
    List<String> of(Item item);

    /** The same for every item. */
    record Fixed(List<String> choices) implements Choices {
      @Override
      public List<String> of(Item item) {
        return choices;
      }
    }

    /** A field with a list of texts. */
    record Field(String path) implements Choices {
      @Override
      public List<String> of(Item item) {
        return item.texts(path);
      }
    }
  }

  /** How an item is put. */
  sealed interface Form extends Serializable {
    /** The choices as they are shown. */
    List<String> choices(Item item);

    List<Request> requests(Item item, List<String> choices);

    /** The same context before every choice. */
    record Question(Template context, Choices from) implements Form {
      @Override
      public List<String> choices(Item item) {
        return from.of(item);
      }

      @Override
      public List<Request> requests(Item item, List<String> choices) {
        return continuing(context.of(item), choices);
      }
    }

    /** The same, cleaned of the marks that WikiHow's articles have. */
    record WikiHow(Template context, Choices from) implements Form {
      private static final Pattern MARK = Pattern.compile("\\[.*?\\]", Pattern.UNIX_LINES);

      @Override
      public List<String> choices(Item item) {
        return from.of(item).stream().map(WikiHow::clean).toList();
      }

      @Override
      public List<Request> requests(Item item, List<String> choices) {
        return continuing(clean(context.of(item)), choices);
      }

      static String clean(String text) {
        String titled = PythonText.strip(text).replace(" [title]", ". ");
        return MARK.matcher(titled).replaceAll("").replace("  ", " ");
      }
    }

    /**
     * A sentence with a blank, {@code _}: every option fills it, and what is scored is the same
     * rest of the sentence behind each (partial evaluation, arXiv 1806.02847).
     *
     * @param sentence path of the sentence
     * @param options paths of what may fill the blank
     */
    record Blank(String sentence, List<String> options) implements Form {
      @Override
      public List<String> choices(Item item) {
        String before = item.text(sentence).substring(0, blank(item));
        return options.stream().map(option -> before + item.text(option)).toList();
      }

      @Override
      public List<Request> requests(Item item, List<String> choices) {
        String rest = PythonText.strip(item.text(sentence).substring(blank(item) + 1));
        return choices.stream().map(context -> new Request(context, DELIMITER + rest)).toList();
      }

      private int blank(Item item) {
        int at = item.text(sentence).indexOf('_');
        if (at < 0) {
          throw item.wrong("has a field \"" + sentence + "\" without a blank (_) to fill");
        }
        return at;
      }
    }

    /** Between context and choice. */
    String DELIMITER = " ";

    private static List<Request> continuing(String context, List<String> choices) {
      List<Request> requests = new ArrayList<>();
      choices.forEach(choice -> requests.add(new Request(context, DELIMITER + choice)));
      return requests;
    }
  }
}
