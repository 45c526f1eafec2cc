package ai.owl.spark.cli;

import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.model.ModelConfig;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.planning.BlockCosts;
import ai.owl.planning.Cluster;
import ai.owl.planning.MachineRates;
import ai.owl.planning.RateMeasurement;
import ai.owl.planning.RunPlan;
import ai.owl.planning.RunPlanner;
import ai.owl.planning.Workload;
import ai.owl.pruning.Pruner;
import ai.owl.spark.report.PlanTable;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.tensor.DType;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code owl plan}: what a run of {@code owl prune} will do and cost, before it is begun. */
@Command(
    name = "plan",
    description = {
      "Says what a run of owl prune will take: steps, time, memory and bytes.",
      "Reads config.json and the headers of the weights, or config.json alone if there is no more;"
          + " takes some seconds to measure how fast this machine is."
    },
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class PlanCommand implements Callable<Integer> {
  private static final int MAX_RATES = 1 << 20;
  private static final Pattern SIZE =
      Pattern.compile("([1-9][0-9]{0,9})([kmgt])", Pattern.CASE_INSENSITIVE);

  private static final String COMPUTE = "compute"; // in the file of rates

  @Option(
      names = "--model",
      required = true,
      paramLabel = "URI",
      description = "Folder of the checkpoint, or of its config.json alone.")
  private String model;

  @Option(
      names = "--executors",
      defaultValue = "1",
      paramLabel = "N",
      description = "Executors. Default: ${DEFAULT-VALUE}.")
  private int executors;

  @Option(
      names = "--cores",
      paramLabel = "C",
      description = "Cores of an executor. Default: those of this machine.")
  private Optional<Integer> cores = Optional.empty();

  @Option(
      names = "--task-cpus",
      paramLabel = "K",
      description = "Cores of a task (spark.task.cpus). Default: what is fastest and fits.")
  private Optional<Integer> taskCpus = Optional.empty();

  @Option(
      names = "--memory",
      paramLabel = "SIZE",
      description =
          "Memory of an executor, its heap and all else, such as 64g. If the run does not fit, the"
              + " exit code is 2.")
  private Optional<String> memory = Optional.empty();

  @Option(
      names = "--rates",
      paramLabel = "FILE",
      description =
          "How fast the machines are, instead of measuring this one: JSON of --save-rates.")
  private Optional<String> ratesFile = Optional.empty();

  @Option(
      names = "--save-rates",
      paramLabel = "FILE",
      description = "Write how fast this machine is, to plan elsewhere for machines like it.")
  private String saveRates;

  @Option(
      names = "--sparsity",
      paramLabel = "S",
      description = "As of owl prune; pruned layers may take less time. Default: 0.7.")
  private Optional<Double> sparsity = Optional.empty();

  @Option(
      names = "--pattern",
      defaultValue = "unstructured",
      paramLabel = "NAME",
      converter = PrunerFlags.PatternName.Converter.class,
      description = "As of owl prune. Default: ${DEFAULT-VALUE}.")
  private PrunerFlags.PatternName pattern;

  @Option(
      names = "--metric",
      defaultValue = "wanda",
      paramLabel = "NAME",
      description = "Which weights go: ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.")
  private PrunerFlags.Metric metric;

  @Mixin private PrunerFlags flags;

  @Mixin private AllocationFlags allocationFlags;

  @Option(
      names = "--propagation",
      defaultValue = "sequential",
      paramLabel = "NAME",
      description = "Where statistics come from: sequential or dense. Default: ${DEFAULT-VALUE}.")
  private Propagation propagation;

  @Mixin private CalibrationFlags sampled;

  @Mixin private ComputeFlags computeFlags;

  @Option(
      names = "--evaluate",
      defaultValue = "0",
      paramLabel = "N",
      description =
          "Windows to measure perplexity on, before and after; 0 for none. Default:"
              + " ${DEFAULT-VALUE}.")
  private int windows;

  @Option(
      names = "--statistics",
      description =
          "Plan with statistics of the dense model that a former run has kept (owl prune"
              + " --statistics): no pass for them.")
  private boolean statistics;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Also write the plan as JSON to FILE.")
  private String json;

  @Override
  public Integer call() throws Exception {
    allocationFlags.requireTaken();
    Storage storage = new HadoopStorage(SparkHadoopUtil.get().newConfiguration(new SparkConf()));
    Cluster cluster =
        new Cluster(
            executors,
            cores.orElseGet(() -> Runtime.getRuntime().availableProcessors()),
            taskCpus.orElse(1));
    Workload workload = new Workload(sampled.sequences(), sampled.length(), windows, statistics);
    Optional<Long> limit = memory.map(PlanCommand::bytes);
    PruneOptions options = options();
    JsonFile.requireWritable(storage, "--json", json);
    if (saveRates != null && ratesFile.isPresent()) {
      throw new IllegalArgumentException(
          "Cannot use --save-rates with --rates: it keeps what is measured here, and nothing is");
    }
    JsonFile.requireWritable(storage, "--save-rates", saveRates);
    boolean hasWeights = Checkpoint.hasWeights(storage, model);
    ModelLayout layout =
        hasWeights ? ModelLayout.of(Checkpoint.open(storage, model)) : shapes(storage);
    layout = layout.computedIn(computeFlags.compute());
    ModelConfig config = layout.config();
    if (!config.readsImages()) {
      config.requirePositions(workload.tokens(), "use a shorter --length");
    }
    MachineRates rates = rates(storage, layout, options, cluster, hasWeights);
    if (saveRates != null) {
      JsonFile.write(storage, saveRates, rates.toJson().put(COMPUTE, options.compute().toString()));
    }
    RunPlan plan =
        taskCpus.isPresent()
            ? RunPlanner.plan(layout, options, workload, cluster, rates)
            : RunPlanner.fastest(layout, options, workload, cluster, rates, limit);
    print(plan, layout, options, hasWeights);
    boolean fits = limit.isEmpty() || plan.memory().executor() <= limit.get();
    if (json != null) {
      ObjectNode result = plan.toJson();
      result.put("model", model);
      result.set("options", optionsOf(options));
      ObjectNode settings = result.putObject("settings");
      PlanTable.settings(plan).forEach(settings::put);
      if (limit.isPresent()) {
        result.put("memoryLimit", limit.get());
        result.put("fits", fits);
      }
      JsonFile.write(storage, json, result);
    }
    if (!fits) {
      System.out.flush();
      throw new IllegalArgumentException(
          doesNotFit(plan, layout, options, workload, rates, limit.get()));
    }
    return Main.DONE;
  }

  private PruneOptions options() {
    Pruner pruner = flags.pruner(metric);
    SparsityAllocator allocator =
        allocationFlags.isList() ? new Uniform() : allocationFlags.allocator(pruner);
    Optional<Double> asked =
        sparsity.isEmpty() && pattern.kept() == 0 ? Optional.of(0.7) : sparsity;
    return new PruneOptions(
            model,
            "planned",
            PrunerFlags.pattern(pattern, asked),
            pruner,
            allocator,
            flags.rounding(),
            propagation,
            false)
        .withCompute(computeFlags.compute());
  }

  private static ObjectNode optionsOf(PruneOptions options) {
    return new ObjectMapper()
        .createObjectNode()
        .put("metric", options.pruner().name())
        .put("allocation", options.allocator().name())
        .put("propagation", options.propagation().label())
        .put("compute", options.compute().toString())
        .put("sparsity", options.sparsity());
  }

  /** What a configuration alone says of a model. */
  private ModelLayout shapes(Storage storage) throws IOException {
    JsonNode config = Checkpoint.configOf(storage, model);
    String name = config.path("dtype").asText(config.path("torch_dtype").asText("float16"));
    DType type =
        switch (name) {
          case "float32" -> DType.F32;
          case "bfloat16" -> DType.BF16;
          case "float16" -> DType.F16;
          default ->
              throw new IllegalArgumentException(
                  "Cannot plan for weights of type "
                      + name
                      + " (config.json); supported are float32, float16 and bfloat16");
        };
    return ModelLayout.ofShapes(
        ModelConfig.parse(config, model), type, Storage.resolve(model, "model.safetensors"));
  }

  private MachineRates rates(
      Storage storage,
      ModelLayout layout,
      PruneOptions options,
      Cluster cluster,
      boolean hasWeights)
      throws IOException {
    if (ratesFile.isPresent()) {
      String location = ratesFile.get();
      try {
        JsonNode kept = new ObjectMapper().readTree(storage.readAll(location, MAX_RATES));
        if (kept instanceof ObjectNode object) {
          String source = object.path("source").asText();
          object.put("source", "of " + location + ": " + source.replaceAll("\\bhere\\b", "there"));
          requireComputed(options, object.path(COMPUTE).asText(""), location);
        }
        return MachineRates.of(kept, location);
      } catch (JsonProcessingException e) {
        throw new IllegalArgumentException(
            "Cannot use --rates " + location + ": it is not valid JSON: " + e.getOriginalMessage());
      }
    }
    System.err.println("measuring this machine, some seconds");
    return RateMeasurement.measure(
        layout.config(),
        layout.blocks().get(0).linears().get(0).weight().type(),
        options,
        layout.config().readsImages() ? layout.config().maxPositions() : sampled.length(),
        cluster.cores(),
        hasWeights
            ? RateMeasurement.sample(storage, layout)
            : RateMeasurement.StorageRates.assumed());
  }

  /** Rates of products in one type say nothing of those in another. */
  private static void requireComputed(PruneOptions options, String measured, String location) {
    if (!measured.isEmpty() && !measured.equals(options.compute().toString())) {
      throw new IllegalArgumentException(
          "Cannot use --rates "
              + location
              + ": they were measured with --compute "
              + measured
              + ", and this is a plan with --compute "
              + options.compute()
              + "; without --rates this machine is measured, and --save-rates keeps that");
    }
  }

  private void print(RunPlan plan, ModelLayout layout, PruneOptions options, boolean hasWeights) {
    Workload workload = plan.workload();
    Cluster cluster = plan.cluster();
    System.out.println(InspectCommand.summary(model, layout));
    System.out.printf(
        Locale.ROOT,
        "run: %s with %s, %s propagation, products in %s, %d sequences of %d tokens%s%n",
        options.allocator().name(),
        options.pruner().name(),
        options.propagation().label(),
        options.compute(),
        workload.sequences(),
        workload.tokens(),
        windows == 0 ? "" : ", perplexity on " + windows + " windows before and after");
    System.out.printf(
        Locale.ROOT,
        "on: %d %s of %d cores, %d a task: %d slots%n%n",
        cluster.executors(),
        cluster.executors() == 1 ? "executor" : "executors",
        cluster.cores(),
        cluster.taskCpus(),
        cluster.slots());
    System.out.print(PlanTable.of(plan));
    System.out.println("\nassumptions:");
    if (!hasWeights) {
      System.out.println(
          "  weights: there are none, only config.json; their type is taken to be "
              + layout.blocks().get(0).linears().get(0).weight().type());
    }
    PlanTable.assumptions(plan, new BlockCosts(layout.config()))
        .forEach(line -> System.out.println("  " + line));
  }

  /** Says what it would take. */
  private String doesNotFit(
      RunPlan plan,
      ModelLayout layout,
      PruneOptions options,
      Workload workload,
      MachineRates rates,
      long limit) {
    String advice = "";
    for (int fewer = plan.cluster().cores() - 1; fewer > 0 && advice.isEmpty(); fewer--) {
      Cluster smaller = new Cluster(executors, fewer, 1);
      RunPlan other =
          RunPlanner.fastest(layout, options, workload, smaller, rates, Optional.of(limit));
      if (other.memory().executor() <= limit) {
        advice = ", or --cores " + fewer;
      }
    }
    return String.format(
        Locale.ROOT,
        "Cannot run this in executors of %s: they need %s; set --memory %dg%s, or use a shorter"
            + " --length",
        PlanTable.bytes(limit),
        PlanTable.bytes(plan.memory().executor()),
        (plan.memory().executor() + (1L << 30) - 1) >> 30,
        advice);
  }

  private static long bytes(String size) {
    Matcher matcher = SIZE.matcher(size);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "Cannot use --memory " + size + ": it is a size such as 64g or 900m");
    }
    int unit = "kmgt".indexOf(matcher.group(2).toLowerCase(Locale.ROOT)) + 1;
    return Long.parseLong(matcher.group(1)) << (10 * unit);
  }
}
