package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class ConsoleProgressTest {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);

  @Test
  void hasALineForEveryBlockWithTheTimeLeft() {
    try (ConsoleProgress progress = new ConsoleProgress(out, false, false)) {
      progress.begin("calibrate", 2);
      progress.step("block 0");
      progress.step("block 1");
      progress.step("block 0, once more"); // news of a stage that is over
      progress.warn("it is late");
    }
    List<String> lines = written().lines().toList();
    assertThat(lines).hasSize(3);
    assertThat(lines.get(0)).matches("calibrate +1/2  block 0, 0\\.\\d s, about 0\\.\\d s left");
    assertThat(lines.get(1)).matches("calibrate +2/2  block 1, 0\\.\\d s");
    assertThat(lines.get(2)).isEqualTo("note: it is late");
  }

  @Test
  void writesOverTheLineOfAStageOnATerminal() {
    try (ConsoleProgress progress = new ConsoleProgress(out, true, false)) {
      progress.begin("prune", 2);
      progress.step("");
      progress.step("");
      progress.say("done");
    }
    String[] lines = written().split(System.lineSeparator());
    assertThat(lines).hasSize(2);
    assertThat(lines[0]).startsWith("\rprune ").contains("left\u001b[K\rprune       2/2 ");
    assertThat(lines[1]).isEqualTo("done");
  }

  @Test
  void hasALineForEveryStageWhereBlocksTakeNoTime() {
    try (ConsoleProgress progress = new ConsoleProgress(out, true, true)) {
      progress.begin("calibrate", 8);
      progress.step("block 0");
      progress.begin("prune", 8);
    }
    assertThat(written().lines()).containsExactly("calibrate", "prune");
  }

  private String written() {
    return bytes.toString(StandardCharsets.UTF_8);
  }
}
