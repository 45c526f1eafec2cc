package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** From a config.json and a file of rates alone. */
class PlanCommandTest {
  private static final String RATES =
      """
      {"source": "a test", "linearFlops": 1e11, "prunedLinearFlops": 2e11, "attentionFlops": 2e10, "elementwiseValues": 5e8,
       "observedValues": 2e9, "gramFlops": 8e10, "profiledWeights": 3e8, "selectedWeights": 2e8,
       "factorFlops": 4e10, "sweptWeights": 2e7, "spectrumFlops": 1e10, "decodedWeights": 1e9,
       "encodedWeights": 1e9, "logits": 1e8, "readBytes": 2e8, "writeBytes": 2e8,
       "shuffledBytes": 2.5e8, "jobSeconds": 0.1, "taskSeconds": 0.004, "warmUpSeconds": 5}
      """;

  @TempDir Path folder;
  private Path rates;
  private final PrintStream out = System.out;
  private final PrintStream err = System.err;
  private final ByteArrayOutputStream said = new ByteArrayOutputStream();
  private final ByteArrayOutputStream complained = new ByteArrayOutputStream();

  @BeforeEach
  void write() throws Exception {
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 8192, "intermediate_size": 22016,
         "num_hidden_layers": 80, "num_attention_heads": 64, "vocab_size": 32000,
         "torch_dtype": "bfloat16", "rms_norm_eps": 1e-6}
        """);
    rates = Files.writeString(folder.resolve("rates.json"), RATES);
    System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(complained, true, StandardCharsets.UTF_8));
  }

  @AfterEach
  void restore() {
    System.setOut(out);
    System.setErr(err);
  }

  private int plan(String... more) {
    String[] args = new String[9 + more.length];
    String[] common = {
      "plan",
      "--model",
      folder.toString(),
      "--executors",
      "16",
      "--cores",
      "16",
      "--rates",
      "" + rates
    };
    System.arraycopy(common, 0, args, 0, 9);
    System.arraycopy(more, 0, args, 9, more.length);
    return Main.run(args);
  }

  @Test
  void plansFromAConfigurationAlone() throws Exception {
    Path json = folder.resolve("plan.json");
    assertThat(plan("--json", json.toString())).isZero();
    assertThat(said.toString(StandardCharsets.UTF_8))
        .contains("80 blocks, 64,760,053,760 prunable weights")
        .contains("spark.task.cpus=2")
        .contains("--conf spark.executor.instances=16")
        .contains("only config.json; their type is taken to be BF16")
        .contains("bottleneck: ");
    JsonNode plan = new ObjectMapper().readTree(json.toFile());
    assertThat(plan.path("stages")).hasSize(4);
    assertThat(plan.path("seconds").doubleValue()).isPositive();
    assertThat(plan.path("memory").path("executor").longValue()).isPositive();
    assertThat(plan.path("settings").path("spark.executor.cores").asText()).isEqualTo("16");
    assertThat(plan.has("fits")).isFalse();
  }

  @Test
  void plansAModelThatReadsImages() throws Exception {
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["ViTForImageClassification"], "hidden_size": 768,
         "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
         "image_size": 224, "patch_size": 16, "dtype": "float32"}
        """);
    assertThat(plan("--sequences", "512", "--evaluate", "100")).isZero();
    assertThat(said.toString(StandardCharsets.UTF_8)).contains("type is taken to be F32");
  }

  @Test
  void saysWhatDoesNotFit() throws Exception {
    Path json = folder.resolve("plan.json");
    assertThat(plan("--memory", "8g", "--json", json.toString())).isEqualTo(Main.YOURS);
    assertThat(complained.toString(StandardCharsets.UTF_8))
        .contains("Cannot run this in executors of 8.0 GiB: they need ")
        .contains("set --memory ");
    assertThat(new ObjectMapper().readTree(json.toFile()).path("fits").booleanValue()).isFalse();
    assertThat(plan("--memory", "8 gigs")).isEqualTo(Main.YOURS);
  }

  @Test
  void keepsRatesForPlansInTheSameType() throws Exception {
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
         "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 100,
         "torch_dtype": "bfloat16", "rms_norm_eps": 1e-6}
        """);
    String kept = folder.resolve("kept.json").toString();
    String[] plan = {
      "plan", "--model", folder.toString(), "--executors", "1", "--cores", "1", "--length", "128"
    };
    assertThat(Main.run(with(plan, "--compute", "bfloat16", "--save-rates", kept))).isZero();
    assertThat(Main.run(with(plan, "--compute", "bfloat16", "--rates", kept))).isZero();
    assertThat(said.toString(StandardCharsets.UTF_8))
        .contains("rates: of " + kept + ": measured there on 1 of ")
        .contains(", in bfloat16, pruned at 70.0 %");
    assertThat(Main.run(with(plan, "--rates", kept))).isEqualTo(Main.YOURS);
    assertThat(complained.toString(StandardCharsets.UTF_8))
        .contains("measured with --compute bfloat16, and this is a plan with --compute float32;");
    assertThat(Main.run(with(plan, "--rates", kept, "--save-rates", kept + "2")))
        .isEqualTo(Main.YOURS);
    assertThat(complained.toString(StandardCharsets.UTF_8))
        .contains("Cannot use --save-rates with --rates");
  }

  private static String[] with(String[] command, String... more) {
    return Stream.concat(Arrays.stream(command), Arrays.stream(more)).toArray(String[]::new);
  }

  @Test
  void refusesWhatItCannotPlan() throws Exception {
    assertThat(plan("--task-cpus", "17")).isEqualTo(Main.YOURS);
    assertThat(plan("--sequences", "0")).isEqualTo(Main.YOURS);
    Files.writeString(rates, "{}");
    assertThat(plan()).isEqualTo(Main.YOURS);
    assertThat(complained.toString(StandardCharsets.UTF_8)).contains("it lacks linearFlops");
    Files.delete(folder.resolve("config.json"));
    assertThat(plan()).isEqualTo(Main.YOURS);
    assertThat(complained.toString(StandardCharsets.UTF_8)).contains("there is no config.json");
  }
}
