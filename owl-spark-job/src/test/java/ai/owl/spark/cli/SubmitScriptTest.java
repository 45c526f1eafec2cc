package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** What submit/owl says of code that is not ours. */
class SubmitScriptTest {
  private static final Path SCRIPT = Path.of("..", "submit", "owl");

  /** Under another name, the JVM would ignore it without a word. */
  @Test
  void theMethodThatIsNotCompiledIsThere() throws Exception {
    Matcher option =
        Pattern.compile("CompileCommand=MaxNodeLimit,([\\w.]+)::(\\w+),")
            .matcher(Files.readString(SCRIPT));
    assertThat(option.find()).isTrue();
    assertThat(Arrays.stream(Class.forName(option.group(1)).getDeclaredMethods()))
        .anyMatch(method -> method.getName().equals(option.group(2)));
  }
}
