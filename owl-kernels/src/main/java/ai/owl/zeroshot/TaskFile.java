package ai.owl.zeroshot;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A task of one's own, described as lm-evaluation-harness's task files are: by the names {@code
 * task}, {@code doc_to_text}, {@code doc_to_choice}, {@code doc_to_target} and {@code metric_list},
 * for multiple choice, with the templates that {@link Template} knows and no code. Where the data
 * set lies and which of its splits is used is not read from here: items come from the command line.
 */
public final class TaskFile {
  private static final Pattern NAME = Pattern.compile("[\\w.-]+");
  private static final Pattern LABEL_INDEX =
      Pattern.compile(
          "\\{\\{\\s*([\\w.]+)\\.index\\(\\s*([\\w.]+?)(?:\\.lstrip\\(\\))?\\s*\\)\\s*\\}\\}");

  /** Names that change what is asked or scored, each with the only value that is understood. */
  private static final Map<String, String> ONLY = only();

  private static final Set<String> READ =
      Set.of("task", "doc_to_text", "doc_to_choice", "doc_to_target", "metric_list");

  /** What makes one number of the items' scores: all that is known. */
  private static final Map<String, String> METRIC =
      Map.of("aggregation", "mean", "higher_is_better", "true");

  /** Names that say where items come from, or something to people. */
  private static final Set<String> NOT_READ =
      Set.of(
          "dataset_path",
          "dataset_name",
          "dataset_kwargs",
          "training_split",
          "validation_split",
          "test_split",
          "fewshot_split",
          "tag",
          "task_alias",
          "metadata",
          "should_decontaminate",
          "doc_to_decontamination_query");

  private static Map<String, String> only() {
    Map<String, String> only = new LinkedHashMap<>();
    only.put("output_type", "multiple_choice");
    only.put("target_delimiter", " ");
    only.put("description", "");
    only.put("num_fewshot", "0");
    return only;
  }

  private final String location;
  private final JsonNode content;

  private TaskFile(String location, JsonNode content) {
    this.location = location;
    this.content = content;
  }

  /**
   * The task that a file describes.
   *
   * @param location of the file, for messages
   * @param content as it was parsed
   * @throws IllegalArgumentException if it describes none, or one that is not understood
   */
  public static ZeroShotTask parse(String location, JsonNode content) {
    return new TaskFile(location, content).task();
  }

  private ZeroShotTask task() {
    if (!content.isObject()) {
      throw wrong("it is no map of names to values, as lm-eval's task files are");
    }
    content.fieldNames().forEachRemaining(this::requireUnderstood);
    String name = text("task");
    if (!NAME.matcher(name).matches()) {
      throw wrong("its task is \"" + name + "\": use letters, digits, dots and dashes");
    }
    try {
      return new ZeroShotTask(
          name,
          new ZeroShotTask.Form.Question(new Template(text("doc_to_text")), choices()),
          answer(),
          split(),
          metrics());
    } catch (IllegalArgumentException unknownNotation) {
      throw unknownNotation.getMessage().startsWith("Cannot use " + location)
          ? unknownNotation
          : wrong(unknownNotation.getMessage().replaceFirst("^Cannot ", "cannot "));
    }
  }

  private void requireUnderstood(String key) {
    if (ONLY.containsKey(key)) {
      JsonNode value = content.path(key);
      String only = ONLY.get(key);
      if (!value.isNull() && !(value.isValueNode() && value.asText().equals(only))) {
        throw wrong("its " + key + " is " + value + ", and only \"" + only + "\" is known");
      }
    } else if (!READ.contains(key) && !NOT_READ.contains(key)) {
      List<String> known = new ArrayList<>(new TreeSet<>(READ));
      known.addAll(ONLY.keySet());
      throw wrong("it sets " + key + ", which is not known; " + String.join(", ", known) + " are");
    }
  }

  private ZeroShotTask.Choices choices() {
    JsonNode choices = content.path("doc_to_choice");
    if (choices.isTextual()) {
      return new ZeroShotTask.Choices.Field(Template.path(choices.asText()));
    }
    List<String> texts = new ArrayList<>();
    for (JsonNode choice : choices) {
      if (!choice.isTextual()) {
        throw wrong("its doc_to_choice has " + choice + ", which is no text; put it into quotes");
      }
      texts.add(choice.asText());
    }
    if (new HashSet<>(texts).size() < texts.size()) {
      throw wrong("its doc_to_choice has the same text twice: " + texts);
    }
    if (texts.size() < 2) {
      throw wrong("its doc_to_choice is no list of two texts or more, and no field that is one");
    }
    return new ZeroShotTask.Choices.Fixed(List.copyOf(texts));
  }

  private Answer answer() {
    String target = text("doc_to_target");
    Matcher index = LABEL_INDEX.matcher(target.strip());
    if (index.matches()) {
      return new Answer.Label(index.group(1), index.group(2));
    }
    String path = Template.path(target);
    // A field by its name is taken as it is; filled into a template, digits are a number.
    return target.contains("{{") ? new Answer.Field(List.of(path), 0) : new Answer.Choice(path);
  }

  /** lm-eval takes the test split, if there is one. */
  private String split() {
    String test = content.path("test_split").asText("");
    return test.isEmpty() ? content.path("validation_split").asText("") : test;
  }

  private List<TaskMetric> metrics() {
    if (!content.hasNonNull("metric_list")) {
      return List.of(TaskMetric.values());
    }
    if (!content.path("metric_list").isArray()) {
      throw wrong(
          "its metric_list is "
              + content.path("metric_list")
              + ", and no list, such as [{metric: acc}]");
    }
    List<TaskMetric> metrics = new ArrayList<>();
    for (JsonNode entry : content.path("metric_list")) {
      String name = entry.path("metric").asText();
      for (TaskMetric metric : TaskMetric.values()) {
        if (metric.label().equals(name)) {
          metrics.add(metric);
        }
      }
      if (metrics.isEmpty() || !metrics.get(metrics.size() - 1).label().equals(name)) {
        throw wrong("its metric_list has \"" + name + "\"; acc and acc_norm are known");
      }
      METRIC.forEach(
          (key, only) -> {
            if (entry.has(key) && !entry.path(key).asText().equals(only)) {
              throw wrong(
                  "the %s of its metric %s is %s, and only %s is known"
                      .formatted(key, name, entry.path(key), only));
            }
          });
    }
    if (!metrics.contains(TaskMetric.ACC)) {
      throw wrong("its metric_list lacks acc, which the mean of tasks is made of");
    }
    return List.copyOf(metrics);
  }

  private String text(String key) {
    JsonNode value = content.path(key);
    if (!value.isTextual()) {
      throw wrong(
          content.has(key) ? "its " + key + " is " + value + ", and no text" : "it lacks " + key);
    }
    return value.asText();
  }

  private IllegalArgumentException wrong(String what) {
    return new IllegalArgumentException("Cannot use " + location + " as a task: " + what);
  }
}
