package ai.owl.spark.cli;

import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.checkpoint.Storage;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneRun;
import ai.owl.pruning.Pruner;
import ai.owl.spark.pipeline.StatisticsStore;
import ai.owl.spark.report.AllocationTable;
import ai.owl.spark.storage.HadoopStorage;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.deploy.SparkHadoopUtil;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code owl allocate}: what an allocation would do, from statistics alone. */
@Command(
    name = "allocate",
    description =
        "Shows, and with --output keeps, the sparsities that an allocation gives, from kept"
            + " statistics and in seconds: no pass through the model, and no weights.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class AllocateCommand implements Callable<Integer> {
  @Option(
      names = "--statistics",
      required = true,
      paramLabel = "URI",
      description = "Folder that owl calibrate, prune or sweep wrote.")
  private String statistics;

  @Option(
      names = "--sparsity",
      paramLabel = "S",
      description = "Share of the weights to remove, in [0, 1). An N:M pattern says it by itself.")
  private Optional<Double> sparsity = Optional.empty();

  @Option(
      names = "--pattern",
      defaultValue = "unstructured",
      paramLabel = "NAME",
      converter = PrunerFlags.PatternName.Converter.class,
      description = "unstructured, or N:M to keep N of every M. Default: ${DEFAULT-VALUE}.")
  private PrunerFlags.PatternName pattern;

  @Option(
      names = "--metric",
      defaultValue = "wanda",
      paramLabel = "NAME",
      description =
          "The metric that the sparsities are for; global looks at it. Default: ${DEFAULT-VALUE}.")
  private PrunerFlags.Metric metric;

  @Mixin private PrunerFlags flags;

  @Mixin private AllocationFlags allocation;

  @Option(
      names = "--output",
      paramLabel = "FILE",
      description =
          "Also write the sparsities as JSON, in the form that --allocation ratios:FILE reads.")
  private String output;

  @Override
  public Integer call() throws Exception {
    allocation.requireTaken();
    Pruner pruner = flags.pruner(metric);
    Configuration hadoop = SparkHadoopUtil.get().newConfiguration(new org.apache.spark.SparkConf());
    Storage storage = new HadoopStorage(hadoop);
    StatisticsStore store = StatisticsStore.open(storage, statistics);
    if (store.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot use --statistics "
              + statistics
              + ": there are none; make them with owl calibrate, or with prune or sweep and the"
              + " same --statistics");
    }
    JsonFile.requireWritable(storage, "--output", output);
    List<LayerProfile> profiles = store.profiles();
    SparsityAllocator allocator;
    Optional<Double> target = sparsity;
    if (allocation.isList()) {
      GivenRatios ratios = allocation.read(storage);
      allocator = ratios;
      target = sparsity.or(() -> Optional.of(ratios.mean(profiles)));
    } else {
      allocator = allocation.allocator(pruner);
    }
    requireKnown(store, allocator);
    PruneOptions options =
        new PruneOptions(
            store.modelLocation(),
            "-",
            PrunerFlags.pattern(pattern, target),
            pruner,
            allocator,
            flags.rounding(),
            Propagation.SEQUENTIAL,
            false);
    SparsityAllocation sparsities = PruneRun.allocate(options, profiles);
    System.out.print(AllocationTable.of(options, profiles, sparsities));
    if (output != null) {
      JsonFile.write(storage, output, AllocationTable.json(profiles, sparsities));
      System.out.println("written to " + output + ": prune with --allocation ratios:" + output);
    }
    return Main.DONE;
  }

  private void requireKnown(StatisticsStore store, SparsityAllocator allocator) {
    SortedSet<Double> thresholds = new TreeSet<>();
    allocator.outlierThreshold().ifPresent(thresholds::add);
    Set<?> missing = store.lacks(allocator.needs(), thresholds);
    if (missing.isEmpty()) {
      return;
    }
    boolean threshold = store.lacks(allocator.needs(), new TreeSet<>()).isEmpty();
    throw new IllegalArgumentException(
        threshold
            ? "Cannot allocate with --outlier-threshold "
                + thresholds.first()
                + ": "
                + statistics
                + " has outliers at "
                + store.thresholds()
                + "; prune with it and the same --statistics, which counts them"
            : "Cannot allocate with "
                + allocator.name()
                + ": "
                + statistics
                + " lacks "
                + missing.toString().toLowerCase(java.util.Locale.ROOT).replace('_', ' ')
                + "; add them with owl calibrate"
                + (missing.contains(ai.owl.allocation.Evidence.SPECTRA) ? " --spectra" : ""));
  }
}
