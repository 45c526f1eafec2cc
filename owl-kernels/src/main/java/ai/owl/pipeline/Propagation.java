package ai.owl.pipeline;

/** Which activations the pruner's statistics come from. */
public enum Propagation {
  /**
   * The papers' order: block by block, the still dense block sees what the pruned blocks before it
   * produce. Costs a second pass through the model where the allocation needs a first.
   */
  SEQUENTIAL,
  /** All statistics from the dense model, in one pass. */
  DENSE;

  /** The name that the command line uses. */
  public String label() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }
}
