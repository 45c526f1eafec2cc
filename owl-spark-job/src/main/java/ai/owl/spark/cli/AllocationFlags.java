package ai.owl.spark.cli;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.checkpoint.Storage;
import ai.owl.pruning.Pruner;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The flags that say how much goes from where, with one value each. */
final class AllocationFlags {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  @Option(
      names = "--allocation",
      defaultValue = "owl",
      paramLabel = "NAME",
      completionCandidates = AllocationChoice.Names.class,
      description = {
        "How much goes from where: ${COMPLETION-CANDIDATES}. Default: ${DEFAULT-VALUE}.",
        "ratios:URI is a list of your own: a JSON array or one number a line, a block each; or a"
            + " JSON object of numbers of blocks or names of linear layers. The shares that go, not"
            + " those that stay."
      })
  private AllocationChoice allocation;

  @Option(
      names = "--outlier-threshold",
      defaultValue = "5",
      paramLabel = "M",
      description =
          "owl…: a weight is an outlier above M times its block's mean; with owl-linear, its"
              + " layer's. Default: 5.")
  private double outlierThreshold;

  @Option(
      names = "--lambda",
      defaultValue = "0.08",
      paramLabel = "L",
      description = "owl…: sparsities span 2 L; with owl-bounded, within L of S. Default: 0.08.")
  private double lambda;

  @Option(
      names = "--epsilon",
      defaultValue = "0.2",
      paramLabel = "E",
      description =
          "alpha: sparsities go from 1 - E to 1 + E times their middle. Default: 0.2, published for"
              + " LLaMA-7B.")
  private double epsilon;

  @Option(
      names = "--alpha-fit",
      defaultValue = "peak",
      paramLabel = "NAME",
      description =
          "alpha: where a spectrum's tail begins, peak (the published script's default) or mid (the"
              + " paper's text). Default: ${DEFAULT-VALUE}.")
  private AlphaFit alphaFit;

  @Option(
      names = "--alpha-per-linear",
      description = "alpha: a sparsity for each linear layer, not for each block.")
  private boolean alphaPerLinear;

  @Option(
      names = "--dlp-alpha",
      defaultValue = "0.15",
      paramLabel = "A",
      description = "dlp: the blocks' sparsities span 2 A. Default: 0.15.")
  private double dlpAlpha;

  @Option(
      names = "--atp-beta",
      paramLabel = "B",
      description = "atp: the step of sparsity from each block to the next. No default.")
  private Optional<Double> atpBeta = Optional.empty();

  /** Refuses flags of other allocations. */
  void requireTaken() {
    AllocationChoice.requireTaken(command.commandLine().getParseResult(), List.of(allocation));
  }

  /** Whether somebody's own list is to be read. */
  boolean isList() {
    return allocation.isList();
  }

  /** Reads somebody's own list. */
  GivenRatios read(Storage storage) throws IOException {
    return allocation.read(storage);
  }

  /**
   * The allocator of the catalogue that the flags ask for.
   *
   * @param pruner that follows it
   */
  SparsityAllocator allocator(Pruner pruner) {
    AllocationChoice.Parameters values =
        new AllocationChoice.Parameters(
            List.of(outlierThreshold),
            List.of(lambda),
            List.of(alphaFit),
            List.of(epsilon),
            alphaPerLinear,
            List.of(dlpAlpha),
            atpBeta.stream().toList());
    return allocation.allocators(values).get(0).suitedTo(pruner);
  }

  @Override
  public String toString() {
    return allocation.toString();
  }
}
