package ai.owl.zeroshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.zeroshot.ZeroShotTask.Put;
import ai.owl.zeroshot.ZeroShotTask.Request;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ZeroShotTaskTest {
  @Test
  void putsBoolQ() {
    String item = "{'passage': 'Ice floats.', 'question': 'does ice float', 'label': 1}";
    Put put = put("boolq", item);
    assertThat(put.requests())
        .containsExactly(
            new Request("Ice floats.\nQuestion: does ice float?\nAnswer:", " no"),
            new Request("Ice floats.\nQuestion: does ice float?\nAnswer:", " yes"));
    assertThat(put.answer()).isEqualTo(1);
    // As it was first published, and as the answer of a truth value.
    assertThat(put("boolq", item.replace("'label': 1", "'answer': false")).answer()).isZero();
  }

  @Test
  void putsRte() {
    Put put = put("rte", "{'sentence1': 'It rains.', 'sentence2': 'It is dry.', 'label': 1}");
    assertThat(put.requests())
        .containsExactly(
            new Request("It rains.\nQuestion: It is dry. True or False?\nAnswer:", " True"),
            new Request("It rains.\nQuestion: It is dry. True or False?\nAnswer:", " False"));
    assertThat(put.answer()).isEqualTo(1);
  }

  @Test
  void putsHellaSwagWithoutTheMarksOfWikiHow() {
    Put put =
        put(
            "hellaswag",
            """
            {'activity_label': 'Home', 'ctx_a': '[header] How to wash [title] Start. ',
             'ctx_b': 'then THE Soap', 'endings': [' [step] Rub  it. ', 'É [substeps] 😀'],
             'label': '1'}
            """);
    // A double space is made one only where the pairs lie, as Python's replace does it.
    assertThat(put.requests().get(0).context())
        .isEqualTo("Home: How to wash. Start. Then the soap");
    assertThat(put.requests())
        .extracting(Request::continuation)
        .containsExactly("  Rub it.", " É 😀");
    assertThat(put.lengths()).containsExactly(8, 3); // characters, not UTF-16 units
    assertThat(put.answer()).isEqualTo(1);
  }

  @Test
  void putsWinoGrandeByTheRestOfTheSentence() {
    Put put =
        put(
            "winogrande",
            "{'sentence': 'The cup is in the box as _ is small _.', 'option1': 'it', 'option2': 'he',"
                + " 'answer': '2'}");
    assertThat(put.requests())
        .containsExactly(
            new Request("The cup is in the box as it", " is small _."),
            new Request("The cup is in the box as he", " is small _."));
    assertThat(put.answer()).isEqualTo(1);
  }

  @ParameterizedTest
  @ValueSource(strings = {"arc_easy", "arc_challenge"})
  void putsArc(String task) {
    String item =
        "{'question': 'Why?', 'choices': {'text': ['so', 'no', 'yes'], 'label': ['A', 'B', 'C']},"
            + " 'answerKey': 'C'}";
    Put put = put(task, item);
    assertThat(put.requests()).hasSize(3).contains(new Request("Question: Why?\nAnswer:", " no"));
    assertThat(put.answer()).isEqualTo(2);
    String digits = item.replace("'A', 'B', 'C'", "'1', '2', '3'").replace("'C'}", "'2'}");
    assertThat(put(task, digits).answer()).isEqualTo(1);
  }

  @Test
  void putsOpenBookQa() {
    Put put =
        put(
            "openbookqa",
            "{'question_stem': 'Sand is', 'choices': {'text': ['dry', 'wet'], 'label': ['A', 'B']},"
                + " 'answerKey': ' B'}");
    assertThat(put.requests())
        .containsExactly(new Request("Sand is", " dry"), new Request("Sand is", " wet"));
    assertThat(put.answer()).isEqualTo(1);
  }

  @Test
  void namesWhatIsKnown() {
    assertThat(ZeroShotTask.KNOWN)
        .extracting(ZeroShotTask::name)
        .containsExactly(
            "boolq", "rte", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa");
    assertThatThrownBy(() -> ZeroShotTask.named("mmlu"))
        .hasMessage(
            "Cannot score task mmlu: it is unknown; known are boolq, rte, hellaswag, winogrande,"
                + " arc_easy, arc_challenge, openbookqa; --task FILE.yaml describes another");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          boolq      | {'passage': '', 'label': 1} | has no field "question"
          boolq      | {'passage': '', 'question': null, 'label': 1} | has nothing in field "question"
          boolq      | {'passage': '', 'question': 'x'} | has no field "label"
          boolq      | {'passage': '', 'question': 'x', 'label': 2} | has the answer 2 in field "label", outside of 0..1
          rte        | {'sentence1': '', 'sentence2': '', 'label': -1} | has the answer -1
          rte        | {'sentence1': '', 'sentence2': {}, 'label': 0} | has a field "sentence2" that is not text but {}, which task rte
          hellaswag  | {'activity_label': '', 'ctx_a': '', 'ctx_b': '', 'endings': [], 'label': ''} | has a field "endings" that is not a list of texts but []
          hellaswag  | {'activity_label': '', 'ctx_a': '', 'ctx_b': '', 'endings': ['a', 'b'], 'label': ''} | has the answer "" in field "label", which is none of [a, b]; items without an answer
          hellaswag  | {'activity_label': '', 'ctx_a': '', 'ctx_b': '', 'endings': ['a', null], 'label': '0'} | has a field "endings" that is not text but null
          hellaswag  | {'activity_label': '', 'ctx_a': '', 'ctx_b': '', 'endings': ['a'], 'label': '0'} | has one choice only, [a], which any model finds: task hellaswag
          winogrande | {'sentence': 'none', 'option1': 'a', 'option2': 'b', 'answer': '1'} | without a blank (_) to fill
          winogrande | {'sentence': '_', 'option1': 'a', 'option2': 'b', 'answer': '0'} | outside of 1..2
          arc_easy   | {'question': '', 'choices': {'text': ['a', 'b'], 'label': ['A', 'B']}, 'answerKey': 'C'} | has the answer "C" in field "answerKey", which is none of [A, B]
          arc_easy   | {'question': '', 'choices': {'text': ['a', 'b', 'c'], 'label': ['A', 'B']}, 'answerKey': 'B'} | has 2 labels in field "choices.label", and 3 choices
          arc_easy   | {'question': '', 'choices': {'text': ['a', 'b'], 'label': ['A', 'B', 'C']}, 'answerKey': 'C'} | has 3 labels in field "choices.label", and 2 choices
          arc_easy   | {'question': 7.5, 'choices': {'text': ['a', 'b'], 'label': ['A', 'B']}, 'answerKey': 'A'} | has a field "question" that is not text but 7.5
          """)
  void refusesItemsThatLackSomething(String task, String item, String message) {
    assertThatThrownBy(() -> put(task, item))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageStartingWith("Cannot read items.jsonl: line 7 ")
        .hasMessageContaining(message);
  }

  @Test
  void fillsTemplates() {
    Item item = item("own", "{'a': 'x{{b}}', 'b': {'c': 3, 'd': true}, 'e': 'ÉTÉ oUI'}");
    assertThat(new Template("{{a}}|{{ b.c }}|{{b.d}}|{{e|capitalize}}|{ }\n").of(item))
        .isEqualTo("x{{b}}|3|True|Été oui|{ }\n");
    assertThat(new Template("a").of(item)).isEqualTo("x{{b}}");
    assertThat(new Template("none").of(item)).isEqualTo("none");
    assertThat(Template.path(" {{b.c}} ")).isEqualTo("b.c");
    for (String unknown : List.of("{{a|upper}}", "{{a", "{% if a %}", "{{a[0]}}", "{# no #}")) {
      assertThatThrownBy(() -> new Template(unknown))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("Cannot use the template \"" + unknown + "\": ");
    }
  }

  /** What Python 3 answers. */
  @Test
  void treatsTextAsPythonDoes() {
    assertThat(PythonText.strip("\u00a0\u2007\u0085 \u001f a\u3000b \t\n\u2028"))
        .isEqualTo("a\u3000b");
    assertThat(PythonText.stripTrailing(" a\u200b")).isEqualTo(" a\u200b"); // no space there
    assertThat(PythonText.capitalize("")).isEmpty();
    assertThat(PythonText.capitalize("ǆ ABC")).isEqualTo("ǅ abc");
    assertThat(PythonText.capitalize("ΌΣ ΣΣ")).isEqualTo("Ός σς");
    assertThat(PythonText.capitalize("İΣ")).isEqualTo("İς");
    assertThat(PythonText.capitalize(" ABC")).isEqualTo(" abc");
    assertThat(PythonText.length("a😀é")).isEqualTo(3);
  }

  private static Put put(String task, String item) {
    return ZeroShotTask.named(task).put(item(task, item));
  }

  private static Item item(String task, String json) {
    try {
      return new Item(
          task, "items.jsonl", "line 7", new JsonMapper().readTree(json.replace('\'', '"')));
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(json, e);
    }
  }
}
