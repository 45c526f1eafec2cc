package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(20)
class TaskYamlTest {
  @Test
  void readsWhatTasksNeed() {
    JsonNode task = parse("\ufefftask: a # one\nmetric_list:\n  - metric: acc\nb: &x c\nd: *x\n");
    assertThat(task)
        .hasToString(
            "{\"task\":\"a\",\"metric_list\":[{\"metric\":\"acc\"}],\"b\":\"c\",\"d\":\"c\"}");
    assertThat(parse("").isNull()).isTrue();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          'a: 1\\nb: [c'              | it is not plain YAML: line 2: expected ',' or ']'
          'a: 1\\nb: 2\\na: 3'         | it is not plain YAML: line 3: found duplicate key a
          'a: !function utils.f'     | it is not plain YAML: line 1: could not determine a constructor for the tag !function
          'a: !!java.net.URL [x]'    | it is not plain YAML: line 1: Global tag is not allowed
          'a: 1\\n---\\nb: 2'          | it is not plain YAML: line 2: but found another document
          'a: &x [*x]'               | it refers to a list or map by an alias (*name); write it out
          'a: &x\\n  b: *x'           | it refers to a list or map by an alias
          '~: 1'                     | it has a key that is no text
          """)
  void refusesWhatTheyDoNot(String text, String message) {
    assertThatThrownBy(() -> parse(text.replace("\\n", "\n")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot use own.yaml as a task: " + message);
  }

  @Test
  void refusesWhatMultiplies() {
    StringBuilder laughs = new StringBuilder("a0: &a0 [x, x]\n");
    for (int i = 1; i <= 24; i++) {
      laughs.append("a%d: &a%d [*a%d, *a%d]\n".formatted(i, i, i - 1, i - 1));
    }
    for (String text : List.of(laughs.toString(), "a: " + "[".repeat(5000) + "]".repeat(5000))) {
      assertThatThrownBy(() -> parse(text)).hasMessageStartingWith("Cannot use own.yaml as a task");
    }
  }

  @Test
  void refusesOtherEncodings() {
    assertThatThrownBy(() -> TaskYaml.parse("own.yaml", new byte[] {'a', ':', ' ', (byte) 0xe4}))
        .hasMessage("Cannot use own.yaml as a task: it is not UTF-8");
  }

  private static JsonNode parse(String text) {
    return TaskYaml.parse("own.yaml", text.getBytes(StandardCharsets.UTF_8));
  }
}
