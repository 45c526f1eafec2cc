package ai.owl.zeroshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.zeroshot.ZeroShotTask.Request;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** As JSON, which YAML contains. */
class TaskFileTest {
  private static final String TASK =
      "{'task': 'pets', 'output_type': 'multiple_choice', 'dataset_path': 'json',"
          + " 'doc_to_text': '{{q}} Answer:', 'doc_to_choice': ['cat', '2'],"
          + " 'doc_to_target': 'gold', 'metric_list': [{'metric': 'acc'}]}";

  @Test
  void describesATask() {
    ZeroShotTask task = parse(TASK);
    assertThat(task.name()).isEqualTo("pets");
    assertThat(task.metrics()).containsExactly(TaskMetric.ACC);
    ZeroShotTask.Put put = task.put(item("{'q': 'Who?', 'gold': 1}"));
    assertThat(put.requests())
        .containsExactly(new Request("Who? Answer:", " cat"), new Request("Who? Answer:", " 2"));
    assertThat(put.answer()).isEqualTo(1);
    // A text that is one of the choices is that choice, even if it is made of digits …
    assertThat(task.put(item("{'q': '', 'gold': '2'}")).answer()).isEqualTo(1);
    assertThat(task.put(item("{'q': '', 'gold': 'cat'}")).answer()).isZero();
    // … but filled into a template it is a number.
    ZeroShotTask template = parse(TASK.replace("'gold'", "'{{gold}}'"));
    assertThat(template.put(item("{'q': '', 'gold': '0'}")).answer()).isZero();
    assertThatThrownBy(() -> template.put(item("{'q': '', 'gold': '2'}")))
        .hasMessageContaining("has the answer 2 in field \"gold\", outside of 0..1");
  }

  @Test
  void knowsWhichSplitLmEvalScores() {
    assertThat(parse(TASK).split()).isEmpty();
    String validated = TASK.replace("'json'", "'json', 'validation_split': 'dev'");
    assertThat(parse(validated).split()).isEqualTo("dev");
    String tested = validated.replace("'json'", "'json', 'test_split': 'test'");
    assertThat(parse(tested).split()).isEqualTo("test");
    assertThat(parse(validated.replace("'json'", "'json', 'test_split': null")).split())
        .isEqualTo("dev");
  }

  @Test
  void takesMetricsAsLmEvalWritesThem() {
    String written = "'metric': 'acc', 'aggregation': 'mean', 'higher_is_better': true";
    assertThat(parse(TASK.replace("'metric': 'acc'", written)).metrics())
        .containsExactly(TaskMetric.ACC);
  }

  @Test
  void takesChoicesAndLabelsFromFields() {
    ZeroShotTask task =
        parse(
            TASK.replace("['cat', '2']", "'{{c.text}}'")
                .replace("'gold'", "'{{c.label.index(key.lstrip())}}'")
                .replace(", 'metric_list': [{'metric': 'acc'}]", ""));
    assertThat(task.metrics()).containsExactly(TaskMetric.ACC, TaskMetric.ACC_NORM);
    String item = "{'q': '', 'c': {'text': ['a', 'bc'], 'label': ['X', 'Y']}, 'key': ' Y'}";
    assertThat(task.put(item(item)).answer()).isEqualTo(1);
    assertThat(task.put(item(item)).lengths()).containsExactly(1, 2);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      textBlock =
          """
          'task': 'pets'            ; 'task': 7                     ; its task is 7, and no text
          'task': 'pets'            ; 'task': 'my pets'             ; its task is "my pets"
          'task': 'pets',           ; ''                            ; it lacks task
          multiple_choice           ; generate_until                ; its output_type is "generate_until"
          'dataset_path'            ; 'process_docs'                ; it sets process_docs, which is not known
          {{q}}                     ; {{q|upper}}                   ; the filter upper is unknown
          ['cat', '2']              ; ['cat', 2]                    ; its doc_to_choice has 2, which is no text
          ['cat', '2']              ; ['cat']                       ; no list of two texts or more
          ['cat', '2']              ; ['2', '2']                    ; its doc_to_choice has the same text twice: [2, 2]
          'dataset_path': 'json'    ; 'target_delimiter': [' ']     ; its target_delimiter is [" "], and only " " is known
          'dataset_path': 'json'    ; 'num_fewshot': 5              ; its num_fewshot is 5, and only "0" is known
          {{q}} Answer:             ; {% if q %}                    ; cannot use the template "{% if q %}": only
          [{'metric': 'acc'}]       ; 'acc'                         ; its metric_list is "acc", and no list
          'metric': 'acc'           ; 'metric': 'acc', 'aggregation': 'median' ; the aggregation of its metric acc is "median", and only mean is known
          'metric': 'acc'           ; 'metric': 'acc', 'higher_is_better': false ; the higher_is_better of its metric acc is false, and only true
          'gold'                    ; '{{gold + 1}}'                ; cannot take "{{gold + 1}}" for a field
          'metric': 'acc'           ; 'metric': 'f1'                ; its metric_list has "f1"
          'metric': 'acc'           ; 'metric': 'acc_norm'          ; its metric_list lacks acc
          """,
      quoteCharacter = '`')
  void refusesWhatItDoesNotUnderstand(String from, String to, String message) {
    String spoilt = TASK.replace(from, to.equals("''") ? "" : to);
    assertThat(spoilt).isNotEqualTo(TASK);
    assertThatThrownBy(() -> parse(spoilt))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot use pets.yaml as a task: ")
        .hasMessageContaining(message);
  }

  @Test
  void refusesWhatIsNoMap() {
    for (String content : List.of("[]", "null", "'text'")) {
      assertThatThrownBy(() -> parse(content))
          .hasMessage(
              "Cannot use pets.yaml as a task: it is no map of names to values, as lm-eval's task"
                  + " files are");
    }
  }

  private static ZeroShotTask parse(String json) {
    return TaskFile.parse("pets.yaml", read(json));
  }

  private static Item item(String json) {
    return new Item("pets", "pets.jsonl", "line 1", read(json));
  }

  private static JsonNode read(String json) {
    try {
      return new JsonMapper().readTree(json.replace('\'', '"'));
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(json, e);
    }
  }
}
