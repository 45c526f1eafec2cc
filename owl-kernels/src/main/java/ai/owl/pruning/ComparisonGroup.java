package ai.owl.pruning;

import java.util.Locale;

/** Which weights compete with each other for staying. */
public enum ComparisonGroup {
  /** Those of one output row: every row loses the same number, {@code floor(in_features · S)}. */
  ROW,
  /**
   * All of the matrix: everything up to the score at rank {@code floor(size · S)} goes, that one
   * and its equals included, as the published magnitude pruning does it.
   */
  MATRIX;

  /** The name that the command line uses. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
