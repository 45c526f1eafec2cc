package ai.owl.allocation;

import java.util.Locale;

/** How sparsities become multiples of 1/M, for patterns that keep N of every M weights. */
public enum Rounding {
  /** Down, and then up where it costs least, until the mean is the target. */
  MEAN_PRESERVING,
  /**
   * Each by itself to the nearest multiple, halves to the even one, as OWL's code does for mixed
   * N:M ({@code wanda_owl_structure}); the mean may miss the target.
   */
  PUBLISHED;

  /** The name that the command line uses. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
