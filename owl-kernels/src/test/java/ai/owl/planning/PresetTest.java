package ai.owl.planning;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.model.ModelLayout;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pruning.SparseGpt;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The presets of conf/ hold a run as published, and say so in the planner's own figures. */
class PresetTest {
  private static final Path FOLDER = Path.of("..", "conf", "presets");

  /** 128 sequences of C4, and the 166 windows of 2048 LLaMA tokens that wikitext2 has. */
  private static final Workload PUBLISHED = new Workload(128, 2048, 166, false);

  private static final MachineRates ANY =
      new MachineRates(
          "test", 1e11, 1e11, 1e11, 1e9, 1e9, 1e11, 1e9, 1e9, 1e11, 1e9, 1e11, 1e9, 1e9, 1e9, 1e9,
          1e9, 1e9, 0.01, 0.001, 1);

  private static final double MOST = 1.5; // what a preset asks for beyond is wasted

  static Stream<Arguments> presets() {
    return Stream.of(
        Arguments.of("7b", PlannedModels.llama7b()),
        Arguments.of("13b", PlannedModels.llama13b()),
        Arguments.of("30b", PlannedModels.llama30b()),
        Arguments.of("65b", PlannedModels.llama65b()));
  }

  @ParameterizedTest
  @MethodSource("presets")
  void memoryIsWhatThePlanNeeds(String name, ModelLayout model) throws IOException {
    Map<String, String> preset = read(name + ".conf");
    MemoryPlan needed = plan(preset, model, PruneOptions.defaults("in", "out")).memory();
    within(preset, "spark.executor.memory", needed.heap());
    within(preset, "spark.executor.memoryOverhead", needed.overhead());
    within(preset, "spark.driver.memory", needed.driver());
  }

  @ParameterizedTest
  @MethodSource("presets")
  void memoryForSparseGptIsWhatThePlanNeeds(String name, ModelLayout model) throws IOException {
    Map<String, String> preset = read(name + "-sparsegpt.conf");
    PruneOptions options = PruneOptions.defaults("in", "out").withPruner(new SparseGpt());
    MemoryPlan needed = plan(preset, model, options).memory();
    within(preset, "spark.executor.memory", needed.heap());
    within(preset, "spark.executor.memoryOverhead", needed.overhead());
    within(preset, "spark.driver.memory", needed.driver());
  }

  @ParameterizedTest
  @MethodSource("presets")
  void theArithmeticIsThePlanners(String name, ModelLayout model) throws IOException {
    PruneOptions wanda = PruneOptions.defaults("in", "out");
    for (String preset : List.of(name, name + "-sparsegpt")) {
      PruneOptions options = preset.equals(name) ? wanda : wanda.withPruner(new SparseGpt());
      String file = preset + ".conf";
      assertThat(Files.readString(FOLDER.resolve(file)))
          .as(file)
          .contains(arithmetic(plan(read(file), model, options), model));
    }
  }

  @Test
  void thereAreNoOthers() throws IOException {
    try (Stream<Path> files = Files.list(FOLDER)) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder(
              "7b.conf",
              "13b.conf",
              "30b.conf",
              "65b.conf",
              "7b-sparsegpt.conf",
              "13b-sparsegpt.conf",
              "30b-sparsegpt.conf",
              "65b-sparsegpt.conf");
    }
  }

  private static void within(Map<String, String> preset, String key, long needed) {
    assertThat(bytes(preset.get(key))).as(key).isBetween(needed, (long) (MOST * needed));
  }

  private static RunPlan plan(Map<String, String> preset, ModelLayout model, PruneOptions options) {
    assertThat(preset)
        .containsOnlyKeys(
            "spark.executor.instances",
            "spark.executor.cores",
            "spark.task.cpus",
            "spark.executor.memory",
            "spark.executor.memoryOverhead",
            "spark.driver.memory");
    Cluster cluster =
        new Cluster(
            Integer.parseInt(preset.get("spark.executor.instances")),
            Integer.parseInt(preset.get("spark.executor.cores")),
            Integer.parseInt(preset.get("spark.task.cpus")));
    return RunPlanner.plan(model, options, PUBLISHED, cluster, ANY);
  }

  private static String arithmetic(RunPlan plan, ModelLayout model) {
    MemoryPlan memory = plan.memory();
    Cluster cluster = plan.cluster();
    StringBuilder lines = new StringBuilder();
    line(
        lines,
        "slots      %d executors x %d cores / %d = %d tasks at once, for %d sequences and %d windows",
        cluster.executors(),
        cluster.cores(),
        cluster.taskCpus(),
        cluster.slots(),
        PUBLISHED.sequences(),
        PUBLISHED.windows());
    long weights = new BlockCosts(model.config()).weights();
    line(
        lines,
        "blocks     %5d MiB: %d of %d weights x 4 bytes",
        memory.blocks() >> 20,
        memory.blocks() / (4 * weights),
        weights);
    line(
        lines,
        "buffers    %5d MiB: %d tasks with one sequence each",
        memory.buffers() >> 20,
        cluster.slotsPerExecutor());
    if (memory.grams() > 0) {
      line(lines, "grams      %5d MiB: of a block's inputs, by task", memory.grams() >> 20);
      line(
          lines,
          "solving    %5d MiB: Gram matrix, factor and weights, by input solved at once",
          memory.solving() >> 20);
    }
    line(lines, "head       %5d MiB: weights and logits, a slice a task", memory.head() >> 20);
    line(
        lines,
        "overhead   %5d MiB: 1.1 x %d MiB, the most of these at one time, + 1024 MiB",
        memory.overhead() >> 20,
        memory.offHeap() >> 20);
    line(
        lines,
        "heap       %5d MiB: %d MiB of hidden states, twice%s, / 0.6 + 812 MiB",
        memory.heap() >> 20,
        memory.hiddenStates() >> 21,
        memory.grams() > 0 ? ", and 1024 MiB of shuffles" : "");
    line(lines, "driver     %5d MiB", memory.driver() >> 20);
    return lines.toString();
  }

  private static void line(StringBuilder lines, String format, Object... values) {
    lines.append("#   ").append(String.format(Locale.ROOT, format, values)).append('\n');
  }

  private static Map<String, String> read(String name) throws IOException {
    Map<String, String> settings = new LinkedHashMap<>();
    for (String line : Files.readAllLines(FOLDER.resolve(name))) {
      if (!line.isBlank() && !line.startsWith("#")) {
        String[] words = line.split("\\s+", 2);
        assertThat(settings.put(words[0], words[1])).as(words[0] + " twice").isNull();
      }
    }
    return settings;
  }

  private static long bytes(String size) {
    assertThat(size).matches("[1-9][0-9]*[mg]");
    long number = Long.parseLong(size.substring(0, size.length() - 1));
    return number << (size.endsWith("g") ? 30 : 20);
  }
}
