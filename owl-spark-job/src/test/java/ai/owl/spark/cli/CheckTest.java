package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A command line is judged without being run. */
class CheckTest {
  @TempDir Path folder;

  @Test
  void aSoundCommandIsNotRun() {
    Path output = folder.resolve("out");
    assertThat(
            Main.run(
                "--check",
                "prune",
                "--model",
                "s3://no/model",
                "--calibration",
                "s3://no/text",
                "--output",
                output.toString(),
                "--sparsity",
                "0.7"))
        .isEqualTo(Main.DONE);
    assertThat(Files.exists(output)).isFalse();
  }

  @Test
  void whatTheCommandLineRefusesIsRefused() {
    assertThat(Main.run("--check", "prun")).isEqualTo(Main.YOURS);
    assertThat(Main.run("--check", "prune", "--model", "m")).isEqualTo(Main.YOURS);
    assertThat(Main.run("--check", "evaluate", "--model", "m", "--text", "t", "--lenght", "2"))
        .isEqualTo(Main.YOURS);
    assertThat(Main.run("--check", "evaluate", "--model", "m", "--text", "t", "--length", "two"))
        .isEqualTo(Main.YOURS);
  }
}
