package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.io.ByteArrayOutputStream;
import java.io.Serializable;
import java.util.Arrays;

/**
 * How the scores of a matrix's weights are distributed: how many of them share the sign, exponent
 * and first ten bits of the mantissa, {@code floatToRawIntBits(score) >>> 13}. Scores are never
 * negative, so buckets order as scores do.
 *
 * <p>Magnitudes of bfloat16 and float16 weights have no more bits than that: each bucket holds
 * equal ones, and nothing is lost. Other scores of a bucket differ by less than {@code 2⁻¹⁰} of
 * their size.
 *
 * <p>Only buckets that hold something are kept, as pairs of the gap to the one before and the
 * count, in bytes of seven bits: tens of kilobytes for a matrix of any size. Immutable.
 */
public final class ScoreHistogram implements Serializable {
  private static final long serialVersionUID = 1;
  private static final int SHIFT = 13;

  /** Number of buckets that a score can fall into. */
  public static final int BUCKETS = 1 << 31 - SHIFT;

  /** Of no scores: nobody measured. */
  public static final ScoreHistogram EMPTY = new ScoreHistogram(new byte[0], 0, true);

  private final byte[] pairs;
  private final long total;
  private final boolean exact;

  private ScoreHistogram(byte[] pairs, long total, boolean exact) {
    this.pairs = pairs;
    this.total = total;
    this.exact = exact;
  }

  /** Takes buckets one by one. */
  @FunctionalInterface
  public interface Visitor {
    /**
     * @param bucket in [0, {@link #BUCKETS})
     * @param count scores in it, at least one
     */
    void bucket(int bucket, long count);
  }

  /** Counts the scores of a matrix. */
  public static ScoreHistogram of(Matrix weight, WeightScores scores) {
    long[] counts = new long[BUCKETS];
    int bits = KeyHistogram.add(weight, scores, SHIFT, 0, Integer.MAX_VALUE, counts);
    return of(counts, (bits & (1 << SHIFT) - 1) == 0);
  }

  /**
   * A histogram that was taken apart.
   *
   * @param buckets those that hold something, ascending
   * @param counts how many scores each holds, at least one
   * @param exact whether all scores of a bucket are equal
   */
  public static ScoreHistogram of(int[] buckets, long[] counts, boolean exact) {
    long[] all = new long[BUCKETS];
    for (int i = 0; i < buckets.length; i++) {
      if (buckets[i] < 0 || buckets[i] >= BUCKETS || counts[i] < 1) {
        throw new IllegalArgumentException(
            "Cannot count " + counts[i] + " scores in bucket " + buckets[i] + " of " + BUCKETS);
      }
      all[buckets[i]] = counts[i];
    }
    return buckets.length == 0 ? EMPTY : of(all, exact);
  }

  /** Whether all scores of a bucket are equal, so that nothing was lost. */
  public boolean isExact() {
    return exact;
  }

  private static ScoreHistogram of(long[] counts, boolean exact) {
    ByteArrayOutputStream pairs = new ByteArrayOutputStream();
    long total = 0;
    int before = -1;
    for (int bucket = 0; bucket < counts.length; bucket++) {
      if (counts[bucket] > 0) {
        write(pairs, bucket - before);
        write(pairs, counts[bucket]);
        total += counts[bucket];
        before = bucket;
      }
    }
    return new ScoreHistogram(pairs.toByteArray(), total, exact);
  }

  /** Seven bits a byte, the lowest first; the eighth says that more follow. */
  private static void write(ByteArrayOutputStream out, long value) {
    long left = value;
    while (left > 0x7f) {
      out.write((int) (left & 0x7f | 0x80));
      left >>>= 7;
    }
    out.write((int) left);
  }

  /** Visits the buckets that hold something, in ascending order. */
  public void forEach(Visitor visitor) {
    int at = 0;
    int bucket = -1;
    boolean isCount = false;
    while (at < pairs.length) {
      long value = 0;
      int shift = 0;
      byte next;
      do {
        next = pairs[at++];
        value |= (long) (next & 0x7f) << shift;
        shift += 7;
      } while (next < 0);
      if (isCount) {
        visitor.bucket(bucket, value);
      } else {
        bucket += (int) value;
      }
      isCount = !isCount;
    }
  }

  /** The score that stands for a bucket of this histogram: all of them, or the middle. */
  public double value(int bucket) {
    double low = Float.intBitsToFloat(bucket << SHIFT);
    if (exact) {
      return low;
    }
    double high = Float.intBitsToFloat((bucket << SHIFT) + (1 << SHIFT) - 1);
    return (low + high) / 2;
  }

  /** Number of scores. */
  public long total() {
    return total;
  }

  public boolean isEmpty() {
    return total == 0;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof ScoreHistogram that
        && exact == that.exact
        && Arrays.equals(pairs, that.pairs);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(pairs);
  }

  @Override
  public String toString() {
    return "ScoreHistogram[" + total + " scores in " + pairs.length + " bytes]";
  }
}
