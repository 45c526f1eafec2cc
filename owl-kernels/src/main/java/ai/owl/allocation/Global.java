package ai.owl.allocation;

import ai.owl.kernel.ScoreHistogram;
import ai.owl.pruning.Pruner;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * One threshold for the whole model: the weights with the lowest scores go, wherever they are, and
 * each linear layer is given the share that it loses that way. Where the threshold falls among the
 * scores of one histogram bucket, every layer loses the same share of those.
 *
 * @param scores what is compared: {@link Evidence#SCORES} or {@link Evidence#MAGNITUDES}
 */
public record Global(Evidence scores) implements SparsityAllocator {
  public Global {
    if (scores != Evidence.SCORES && scores != Evidence.MAGNITUDES) {
      throw new IllegalArgumentException(
          "Cannot set one threshold on " + scores + ": it must be SCORES or MAGNITUDES");
    }
  }

  @Override
  public String name() {
    return "global";
  }

  @Override
  public String label() {
    return scores == Evidence.SCORES ? "global |W|·‖x‖" : "global |W|";
  }

  @Override
  public Map<String, Object> settings() {
    return Map.of("scores", scores == Evidence.SCORES ? "|W|*||x||" : "|W|");
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of(scores);
  }

  /** By activations if the pruner looks at them, else by magnitudes. */
  @Override
  public Global suitedTo(Pruner pruner) {
    return new Global(pruner.needsStatistics() ? Evidence.SCORES : Evidence.MAGNITUDES);
  }

  @Override
  public boolean perLinear() {
    return true;
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    LinearUnits units = new LinearUnits(name(), profiles);
    long[] counts = new long[ScoreHistogram.BUCKETS];
    for (int i = 0; i < units.size(); i++) {
      ScoreHistogram histogram = histogram(units.linears().get(i));
      units.require(histogram.total() == units.weights(i), i, scores);
      histogram.forEach((bucket, count) -> counts[bucket] += count);
    }
    double goal = target * units.weights();
    double[] removed = new double[units.size()];
    if (goal > 0) {
      double below = 0;
      int last = 0;
      while (below + counts[last] < goal && last < counts.length - 1) {
        below += counts[last++];
      }
      int threshold = last;
      double share = (goal - below) / counts[threshold];
      for (int i = 0; i < removed.length; i++) {
        int unit = i;
        histogram(units.linears().get(i))
            .forEach(
                (bucket, count) -> {
                  if (bucket < threshold) {
                    removed[unit] += count;
                  } else if (bucket == threshold) {
                    removed[unit] += count * share;
                  }
                });
      }
    }
    return units.removing(target, removed);
  }

  private ScoreHistogram histogram(LinearProfile linear) {
    return scores == Evidence.SCORES ? linear.scores() : linear.magnitudes();
  }
}
