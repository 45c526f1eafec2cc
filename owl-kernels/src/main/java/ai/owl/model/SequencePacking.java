package ai.owl.model;

import java.io.Serializable;
import java.util.List;

/**
 * Where token sequences lie that run through a model together, in the rows of one matrix: none is
 * padded, and what several of them begin with is there once. Everything but attention works on the
 * rows as they come; in attention a segment sees the segment before it in its sequence, and itself.
 *
 * <p>Segments lie one behind the other and cover all rows.
 */
public record SequencePacking(List<Segment> segments) implements Serializable {
  /** In place of a segment's number: nothing comes before. */
  public static final int NO_PREFIX = -1;

  /**
   * Consecutive tokens of a sequence.
   *
   * @param first row of the first of them
   * @param tokens how many, at least one
   * @param prefix number of the segment that comes before it, which has none before itself; or
   *     {@link #NO_PREFIX}
   */
  public record Segment(int first, int tokens, int prefix) implements Serializable {}

  public SequencePacking {
    segments = List.copyOf(segments);
    int row = 0;
    for (int i = 0; i < segments.size(); i++) {
      Segment segment = segments.get(i);
      boolean isFirst = segment.prefix() == NO_PREFIX;
      if (segment.first() != row
          || segment.tokens() < 1
          || segment.prefix() >= i
          || !isFirst && segments.get(segment.prefix()).prefix() != NO_PREFIX) {
        throw new IllegalArgumentException(
            "Cannot pack sequences: segment " + i + " of " + segments + " is out of place");
      }
      row += segment.tokens();
    }
  }

  /** Rows of all segments together. */
  public int rows() {
    return segments.stream().mapToInt(Segment::tokens).sum();
  }

  /** Number of tokens that come before a segment in its sequence. */
  public int past(Segment segment) {
    return segment.prefix() == NO_PREFIX ? 0 : segments.get(segment.prefix()).tokens();
  }

  /** The position of every row's token in its sequence. */
  public int[] positions() {
    int[] positions = new int[rows()];
    for (Segment segment : segments) {
      for (int t = 0; t < segment.tokens(); t++) {
        positions[segment.first() + t] = past(segment) + t;
      }
    }
    return positions;
  }
}
