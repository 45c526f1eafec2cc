package ai.owl.spark.cli;

import ai.owl.kernel.Compute;
import ai.owl.pipeline.Progress;
import picocli.CommandLine.Option;

/** What sequences run through a model with: the same in every command that runs any. */
final class ComputeFlags {
  @Option(
      names = "--compute",
      defaultValue = "float32",
      paramLabel = "TYPE",
      description =
          "What the products of linear layers and attention are computed in: float32, or bfloat16,"
              + " which is faster on processors that have it and changes norms and perplexities by"
              + " some tenths of a percent. Default: ${DEFAULT-VALUE}.")
  private Compute compute;

  Compute compute() {
    return compute;
  }

  /** Says what computes here, and what it cannot. */
  void announce(Progress progress) {
    progress.say("products: " + compute.implementation());
    compute.shortfall().ifPresent(progress::warn);
  }
}
