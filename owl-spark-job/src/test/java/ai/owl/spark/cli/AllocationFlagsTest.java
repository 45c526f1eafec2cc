package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.oracle.Fixture;
import ai.owl.spark.ml.LlmPruner;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What {@code --allocation} and its hyper-parameters do, from the command line to the report. */
class AllocationFlagsTest {
  private static final String NAMES =
      "owl, owl-bounded, owl-linear, owl-inverse, uniform, global, er, erk, lamp, alpha, dlp, atp,"
          + " ratios:URI";

  @TempDir Path temporary;

  private final ByteArrayOutputStream error = new ByteArrayOutputStream();
  private final Fixture fixture = Fixture.golden("llama3-bf16");

  @ParameterizedTest
  @CsvSource({"prune", "sweep"})
  void namesTheAllocationsThereAre(String command) {
    for (String unknown : List.of("best", "ratios:", "owls", "")) {
      error.reset();
      int code =
          run(
              command,
              "--model",
              fixture.model(),
              "--output",
              out("none"),
              "--sparsity",
              "0.7",
              "--allocation",
              unknown);
      assertThat(code).isEqualTo(Main.YOURS);
      assertThat(error())
          .contains("'--allocation'")
          .contains("expected one of " + NAMES + ", not '" + unknown + "'");
    }
  }

  @Test
  void mllibsPrunerHasTheSameNames() {
    LlmPruner pruner = new LlmPruner();
    List<String> names = new ArrayList<>();
    for (String name : new AllocationChoice.Names()) {
      if (!name.equals("ratios:URI")) {
        names.add(pruner.setStrategy(name).getStrategy()); // refuses what it does not know
      }
    }
    String doc = pruner.strategy().doc();
    String list = doc.substring(doc.indexOf(": ") + 2, doc.indexOf(" (--allocation)"));
    assertThat(list.split(", ")).containsExactlyInAnyOrderElementsOf(names);
  }

  /** Before Spark is started, and long before anything is measured. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--allocation atp|Cannot use --allocation atp without --atp-beta",
        "--allocation atp --atp-beta -1|Cannot use --atp-beta -1.0",
        "--allocation alpha --epsilon 2|Cannot use --epsilon 2.0: it must be in [0, 1]",
        "--allocation dlp --dlp-alpha 0.7|Cannot use --dlp-alpha 0.7: it must be in [0, 0.5)",
        "--allocation owl-linear --lambda 0.5|Cannot use --lambda 0.5",
        "--allocation owl-bounded --outlier-threshold 0|Cannot use --outlier-threshold 0.0",
        "--allocation lamp --pattern 2:4|Cannot use --allocation lamp with --pattern 2:4",
        "--allocation alpha --alpha-fit best|expected mid or peak, not 'best'",
        "--allocation uniform|Cannot prune without --sparsity",
        "--allocation uniform --lambda 0.1|Cannot use --lambda with --allocation uniform: it belongs to"
            + " owl, owl-bounded, owl-linear, owl-inverse",
        "--dlp-alpha 0.1|Cannot use --dlp-alpha with --allocation owl: it belongs to dlp",
        "--allocation owl-linear --alpha-per-linear|Cannot use --alpha-per-linear with",
      })
  void refusesAtOnce(String flags, String why) {
    List<String> command =
        new ArrayList<>(List.of("prune", "--model", "/no/such/model", "--output", out("none")));
    if (!flags.contains("uniform") && !flags.contains("pattern")) {
      command.addAll(List.of("--sparsity", "0.7"));
    }
    command.addAll(List.of(flags.split(" ")));
    assertThat(run(command.toArray(String[]::new))).isEqualTo(Main.YOURS);
    assertThat(error()).contains(why);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--metric magnitude --allocation global|global|scores|'|W|'",
        "--metric magnitude --allocation ERK|er||",
        "--metric magnitude --allocation alpha --alpha-fit mid --epsilon 0.1 --alpha-per-linear"
            + "|alpha|alphaPerLinear|true",
        "--metric magnitude --allocation atp --atp-beta 0.05|atp|atpBeta|0.05",
        "--metric wanda --allocation global|global|scores|'|W|*||x||'",
        "--metric wanda --allocation dlp --dlp-alpha 0.1|dlp|dlpAlpha|0.1",
        "--metric wanda --allocation owl-inverse --lambda 0.05|owl-inverse|lambda|0.05",
      },
      quoteCharacter = '\'')
  void prunes(String flags, String name, String setting, String value) throws Exception {
    List<String> command = new ArrayList<>(List.of(flags.split(" ")));
    if (flags.contains("wanda")) {
      command.addAll(List.of("--calibration", fixture.expected("tokens.safetensors").toString()));
    }
    command.addAll(List.of("--sparsity", "0.6"));
    JsonNode result = prune(command);
    JsonNode options = result.get("options");
    assertThat(options.get("allocation").textValue()).isEqualTo(name);
    if (setting != null) {
      assertThat(options.get(setting).asText()).isEqualTo(value);
    }
    assertThat(result.get("sparsity").get("reached").doubleValue())
        .isCloseTo(0.6, Offset.offset(0.025));
  }

  @Test
  void takesTheSparsityOfAList() throws Exception {
    Path list = temporary.resolve("mine.json");
    Files.writeString(
        list, "{\"0\": 0.5, \"1\": 0.6, \"2\": 0.7, \"model.layers.2.mlp.up_proj\": 0.9}");
    List<String> flags =
        new ArrayList<>(List.of("--metric", "magnitude", "--allocation", "ratios:" + list));
    JsonNode result = prune(flags);
    double target = result.get("sparsity").get("target").doubleValue();
    assertThat(target).isBetween(0.6, 0.7);
    for (JsonNode block : result.get("blocks")) {
      for (JsonNode linear : block.get("linears")) {
        double asked =
            linear.get("name").textValue().equals("model.layers.2.mlp.up_proj")
                ? 0.9
                : 0.5 + 0.1 * block.get("index").intValue();
        assertThat(linear.get("sparsity").doubleValue()).isCloseTo(asked, Offset.offset(1e-12));
        assertThat(linear.get("reached").doubleValue()).isCloseTo(asked, Offset.offset(0.01));
      }
    }
    assertThat(result.get("warnings").toString()).contains("the mean of the 4 ratios of");
    // Given as well, it is checked.
    List<String> other = new ArrayList<>(flags);
    other.addAll(List.of("--sparsity", "0.5", "--model", fixture.model(), "--output", out("no")));
    other.add(0, "prune");
    assertThat(run(other.toArray(String[]::new))).isEqualTo(Main.YOURS);
    assertThat(error())
        .contains("owl: Cannot use the ratios of " + list + " for sparsity 0.5")
        .contains("leave --sparsity out, or give 0.6");
    assertThat(temporary.resolve("no")).doesNotExist();
  }

  @Test
  void refusesAListThatIsNotThereOrDoesNotFit() throws Exception {
    Path list = temporary.resolve("mine.txt");
    String[] command = {
      "prune",
      "--metric",
      "magnitude",
      "--model",
      fixture.model(),
      "--output",
      out("no"),
      "--allocation",
      "ratios:" + list
    };
    assertThat(run(command)).isEqualTo(Main.YOURS);
    assertThat(error()).contains(list.toString());
    error.reset();
    Files.writeString(list, "0.5\n0.6\n");
    assertThat(run(command)).isEqualTo(Main.YOURS);
    assertThat(error())
        .contains("Cannot use the 2 ratios of " + list + " for a model of 3 blocks: there is none");
  }

  private JsonNode prune(List<String> flags) throws Exception {
    List<String> command = new ArrayList<>(List.of("prune", "--model", fixture.model()));
    command.addAll(List.of("--output", out("pruned"), "--json", out("result.json")));
    command.addAll(flags);
    assertThat(run(command.toArray(String[]::new))).as(error()).isEqualTo(Main.DONE);
    return new ObjectMapper().readTree(temporary.resolve("result.json").toFile());
  }

  @Test
  void aSweepRefusesWhatNoneOfItsAllocationsHas() {
    List<String> sweep =
        List.of("sweep", "--model", "/no/such/model", "--calibration", "/no/ids.safetensors");
    List<String> command = new ArrayList<>(sweep);
    command.addAll(List.of("--evaluate", "/no/ids.safetensors", "--output", out("sweep")));
    command.addAll(List.of("--allocation", "uniform,dlp", "--epsilon", "0.1"));
    assertThat(run(command.toArray(String[]::new))).isEqualTo(Main.YOURS);
    assertThat(error())
        .contains("Cannot use --epsilon with --allocation uniform,dlp: it belongs to alpha");
  }

  @Test
  void aSweepOfNothingIsAFailure() {
    String tokens = fixture.expected("tokens.safetensors").toString();
    List<String> command = new ArrayList<>(List.of("sweep", "--model", fixture.model()));
    command.addAll(List.of("--calibration", tokens, "--evaluate", tokens));
    command.addAll(List.of("--output", out("sweep"), "--sparsity", "0.9"));
    command.addAll(List.of("--allocation", "owl", "--lambda", "0.4", "--outlier-threshold", "5"));
    assertThat(run(command.toArray(String[]::new))).isEqualTo(Main.YOURS);
    assertThat(error()).contains("Cannot sweep " + fixture.model() + ": none of the ways");
  }

  @Test
  void takesTheFirstOfReadySequences() throws Exception {
    String tokens = fixture.expected("tokens.safetensors").toString();
    List<String> command = List.of("--calibration", tokens, "--sparsity", "0.6");
    List<String> fewer = new ArrayList<>(command);
    fewer.addAll(List.of("--sequences", "2"));
    JsonNode two = prune(fewer).get("calibration");
    assertThat(two.get("sequences").intValue()).isEqualTo(2);
    List<String> more = new ArrayList<>(command);
    more.addAll(List.of("--sequences", "1000", "--overwrite"));
    assertThat(prune(more).get("calibration").get("sequences").intValue())
        .isEqualTo(fixture.calibration().count());
  }

  private String out(String name) {
    return temporary.resolve(name).toString();
  }

  private int run(String... args) {
    PrintStream before = System.err;
    System.setErr(new PrintStream(error, true, StandardCharsets.UTF_8));
    try {
      return Main.run(args);
    } finally {
      System.setErr(before);
    }
  }

  private String error() {
    return error.toString(StandardCharsets.UTF_8);
  }
}
