package ai.owl.spark.pipeline;

import java.io.Serializable;
import java.util.Comparator;

/**
 * Which part of which Gram matrix: rows of what one group of sequences gave, on their way to the
 * task that solves the layers that read the input. In this order, that task adds up groups row by
 * row.
 *
 * @param input position of the input in its block's layout
 * @param firstRow first of the rows
 * @param group number of the group of sequences
 */
record GramKey(int input, int firstRow, int group) implements Comparable<GramKey>, Serializable {
  private static final Comparator<GramKey> ORDER =
      Comparator.comparingInt(GramKey::input)
          .thenComparingInt(GramKey::firstRow)
          .thenComparingInt(GramKey::group);

  @Override
  public int compareTo(GramKey other) {
    return ORDER.compare(this, other);
  }
}
