package ai.owl.allocation;

import ai.owl.kernel.ScoreHistogram;
import java.util.List;
import java.util.Set;

/**
 * Layer-adaptive magnitude-based pruning (LAMP, arXiv 2010.07611): a weight is scored by its square
 * over the sum of the squares that are not smaller in its layer, itself included,
 *
 * <pre>
 * score(w) = w² / Σ { w'² : w' not before w in ascending order of magnitude }
 * </pre>
 *
 * and the lowest scores of the whole model go. Each linear layer is given the share that it loses
 * that way. A layer's largest weight has the score 1: no layer is emptied before all are. Scores
 * equal to the threshold go in equal shares.
 */
public record Lamp() implements SparsityAllocator {
  @Override
  public String name() {
    return "lamp";
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of(Evidence.MAGNITUDES);
  }

  /**
   * The scores of one layer. Of the n equal magnitudes v of a bucket, with the squares of all
   * larger ones adding up to R, the m-th largest has the score {@code v² / (R + m·v²)}, so {@code
   * 1/score = R/v² + m}: they need not be listed.
   */
  private static final class Scores {
    private final long zeros;
    private final long[] counts;
    private final double[] above; // R/v²

    Scores(ScoreHistogram magnitudes) {
      int[] size = new int[1];
      magnitudes.forEach((bucket, count) -> size[0]++);
      int[] buckets = new int[size[0]];
      counts = new long[size[0]];
      above = new double[size[0]];
      size[0] = 0;
      magnitudes.forEach(
          (bucket, count) -> {
            buckets[size[0]] = bucket;
            counts[size[0]++] = count;
          });
      boolean hasZeros = buckets.length > 0 && buckets[0] == 0;
      zeros = hasZeros ? counts[0] : 0;
      if (hasZeros) {
        counts[0] = 0;
      }
      double squares = 0;
      for (int b = buckets.length - 1; b >= (hasZeros ? 1 : 0); b--) {
        double square = magnitudes.value(buckets[b]) * magnitudes.value(buckets[b]);
        above[b] = squares / square;
        squares += counts[b] * square;
      }
    }

    /** How many scores are at most {@code 1/inverse}. */
    long removed(double inverse) {
      long removed = zeros;
      for (int b = 0; b < counts.length; b++) {
        double kept = Math.ceil(inverse - above[b]) - 1; // m < inverse − R/v²
        removed += counts[b] - (long) Math.max(0, Math.min(counts[b], kept));
      }
      return removed;
    }
  }

  @Override
  public boolean perLinear() {
    return true;
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    LinearUnits units = new LinearUnits(name(), profiles);
    Scores[] scores = new Scores[units.size()];
    for (int i = 0; i < scores.length; i++) {
      ScoreHistogram magnitudes = units.linears().get(i).magnitudes();
      units.require(magnitudes.total() == units.weights(i), i, Evidence.MAGNITUDES);
      scores[i] = new Scores(magnitudes);
    }
    double goal = target * units.weights();
    double inverse = threshold(scores, goal);
    double[] removed = new double[scores.length];
    double below = 0;
    double upTo = 0;
    double[] ties = new double[scores.length];
    for (int i = 0; i < scores.length; i++) {
      removed[i] =
          inverse == Double.POSITIVE_INFINITY ? 0 : scores[i].removed(Math.nextUp(inverse));
      ties[i] = scores[i].removed(inverse) - removed[i];
      below += removed[i];
      upTo += ties[i];
    }
    double share = upTo > 0 ? (goal - below) / upTo : 0;
    for (int i = 0; i < scores.length; i++) {
      removed[i] += share * ties[i];
    }
    return units.removing(target, removed);
  }

  /** The reciprocal of the lowest score up to which at least the goal's number goes. */
  private static double threshold(Scores[] scores, double goal) {
    // The bits of positive doubles order as the numbers do, infinity last.
    long low = Double.doubleToRawLongBits(1); // everything goes
    long high = Double.doubleToRawLongBits(Double.POSITIVE_INFINITY); // zeros only
    if (removed(scores, Double.POSITIVE_INFINITY) >= goal) {
      return Double.POSITIVE_INFINITY;
    }
    while (high - low > 1) {
      long middle = low + (high - low) / 2;
      if (removed(scores, Double.longBitsToDouble(middle)) >= goal) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return Double.longBitsToDouble(low);
  }

  private static double removed(Scores[] scores, double inverse) {
    double sum = 0;
    for (Scores layer : scores) {
      sum += layer.removed(inverse);
    }
    return sum;
  }
}
