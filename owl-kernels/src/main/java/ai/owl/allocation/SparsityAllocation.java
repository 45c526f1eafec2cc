package ai.owl.allocation;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/**
 * A sparsity for each linear layer of each block. Exists only if every sparsity is in [0, 1) and
 * their mean is the target: the mean weighted by size, or the plain mean over blocks, which is what
 * the published OWL formula guarantees.
 *
 * @param target share of weights to remove
 * @param sparsities by block: the share of the block's weights to remove
 * @param weights prunable weights by block
 * @param linears by block and linear layer, in the layout's order; an empty list for a block whose
 *     linear layers all have the block's sparsity
 * @param warnings what the user should know of how it came about, one sentence each
 */
public record SparsityAllocation(
    double target,
    List<Double> sparsities,
    List<Long> weights,
    List<List<Double>> linears,
    List<String> warnings)
    implements Serializable {
  private static final double TOLERANCE = 1e-9;
  private static final double NOTICEABLE = 1e-3;

  public SparsityAllocation {
    sparsities = List.copyOf(sparsities);
    weights = List.copyOf(weights);
    linears = linears.stream().map(List::copyOf).toList();
    warnings = List.copyOf(warnings);
    if (sparsities.isEmpty()
        || sparsities.size() != weights.size()
        || sparsities.size() != linears.size()) {
      throw new IllegalArgumentException(
          "Cannot allocate " + sparsities.size() + " sparsities to " + weights.size() + " blocks");
    }
    double sum = 0;
    for (int i = 0; i < sparsities.size(); i++) {
      requireInRange(sparsities.get(i), i);
      for (double sparsity : linears.get(i)) {
        requireInRange(sparsity, i);
      }
      sum += sparsities.get(i);
    }
    double mean = sum / sparsities.size();
    double weighted = weightedMean(sparsities, weights);
    if (!(Math.abs(mean - target) <= TOLERANCE || Math.abs(weighted - target) <= TOLERANCE)) {
      throw new IllegalArgumentException(
          "Cannot allocate a mean sparsity of " + mean + ": the target is " + target);
    }
  }

  /** One sparsity a block. */
  public static SparsityAllocation ofBlocks(
      double target, List<Double> sparsities, List<LayerProfile> profiles, List<String> warnings) {
    return new SparsityAllocation(
        target,
        sparsities,
        profiles.stream().map(LayerProfile::weights).toList(),
        Collections.nCopies(sparsities.size(), List.of()),
        warnings);
  }

  /**
   * One sparsity a block, whose plain mean is the target, as the papers' formulas have it; says so
   * if their mean weighted by size is another.
   */
  static SparsityAllocation ofBlocksByPlainMean(
      double target, List<Double> sparsities, List<LayerProfile> profiles, List<String> warnings) {
    SparsityAllocation allocation = ofBlocks(target, sparsities, profiles, warnings);
    if (Math.abs(allocation.weightedMean() - target) <= NOTICEABLE) {
      return allocation;
    }
    List<String> all = new ArrayList<>(warnings);
    all.add(
        String.format(
            Locale.ROOT,
            "blocks differ in size: the plain mean of their sparsities is %s, but %.4f of all"
                + " weights will go",
            target,
            allocation.weightedMean()));
    return ofBlocks(target, sparsities, profiles, all);
  }

  /**
   * One sparsity a linear layer, whose mean weighted by size is the target.
   *
   * @param linears by block and linear layer
   * @param profiles with linear layers
   */
  public static SparsityAllocation ofLinears(
      double target,
      List<List<Double>> linears,
      List<LayerProfile> profiles,
      List<String> warnings) {
    List<Double> sparsities = new ArrayList<>();
    for (int i = 0; i < linears.size(); i++) {
      List<Long> sizes = profiles.get(i).linears().stream().map(LinearProfile::weights).toList();
      if (sizes.size() != linears.get(i).size()) {
        throw new IllegalArgumentException(
            "Cannot allocate "
                + linears.get(i).size()
                + " sparsities to the "
                + sizes.size()
                + " linear layers of block "
                + i);
      }
      sparsities.add(weightedMean(linears.get(i), sizes));
    }
    return new SparsityAllocation(
        target,
        sparsities,
        profiles.stream().map(LayerProfile::weights).toList(),
        linears,
        warnings);
  }

  private static void requireInRange(double sparsity, int block) {
    if (!(sparsity >= 0 && sparsity < 1)) {
      throw new IllegalArgumentException(
          "Cannot allocate a sparsity of "
              + sparsity
              + " to block "
              + block
              + ": it is outside [0, 1)");
    }
  }

  /** The share of a block's weights that goes. */
  public double sparsity(int block) {
    return sparsities.get(block);
  }

  /** The sparsity of a linear layer of a block. */
  public double sparsity(int block, int linear) {
    return linears.get(block).isEmpty() ? sparsities.get(block) : linears.get(block).get(linear);
  }

  /** The share of all prunable weights that goes, if every layer meets its sparsity exactly. */
  public double weightedMean() {
    return weightedMean(sparsities, weights);
  }

  private static double weightedMean(List<Double> sparsities, List<Long> weights) {
    double removed = 0;
    double all = 0;
    for (int i = 0; i < sparsities.size(); i++) {
      removed += sparsities.get(i) * weights.get(i);
      all += weights.get(i);
    }
    return removed / all;
  }

  /**
   * This allocation with sparsities that keep whole numbers of every {@code of} weights; at least
   * one.
   *
   * @throws IllegalArgumentException if linear layers of a block have sparsities of their own
   */
  public SparsityAllocation inUnitsOf(int of, Rounding rounding) {
    if (linears.stream().anyMatch(list -> !list.isEmpty())) {
      throw new IllegalArgumentException(
          "Cannot round sparsities to groups of "
              + of
              + ": linear layers have sparsities of their own; use an --allocation by block, such"
              + " as owl, with an N:M --pattern");
    }
    double[] exact = sparsities.stream().mapToDouble(s -> of * (1 - s)).toArray(); // kept of `of`
    long[] kept = new long[exact.length];
    if (rounding == Rounding.PUBLISHED) {
      double uniform = of * (1 - target);
      for (int i = 0; i < kept.length; i++) {
        // The published code rounds what is added to the uniform number, which is whole.
        kept[i] = Math.round(uniform) + (long) Math.rint(exact[i] - uniform);
      }
    } else {
      roundPreservingTheMean(exact, kept, of);
    }
    List<Double> rounded = new ArrayList<>();
    List<String> notes = new ArrayList<>(warnings);
    double sum = 0;
    for (int i = 0; i < kept.length; i++) {
      if (kept[i] < 1 || kept[i] > of) {
        throw new IllegalArgumentException(
            "Cannot keep "
                + kept[i]
                + " of every "
                + of
                + " weights of block "
                + i
                + ": use a smaller --lambda, or whatever sets the allocation's width");
      }
      rounded.add((double) (of - kept[i]) / of);
      sum += rounded.get(i);
    }
    if (rounded.stream().distinct().count() == 1 && sparsities.stream().distinct().count() > 1) {
      notes.add(
          "rounded to groups of "
              + of
              + ", all blocks have the same sparsity: a wider allocation, such as a larger --lambda,"
              + " would tell them apart");
    }
    double mean = sum / kept.length;
    boolean met = Math.abs(mean - target) <= TOLERANCE;
    if (!met) {
      notes.add(
          String.format(
              Locale.ROOT,
              "rounded to groups of %d, the mean sparsity of the blocks is %.4f instead of %s",
              of,
              mean,
              target));
    }
    return new SparsityAllocation(met ? target : mean, rounded, weights, linears, notes);
  }

  /** Down first; what is missing goes to those that lost most, the lower block first. */
  private static void roundPreservingTheMean(double[] exact, long[] kept, int of) {
    double sum = 0;
    long whole = 0;
    for (int i = 0; i < exact.length; i++) {
      sum += exact[i];
      kept[i] = Math.max(1, (long) Math.floor(exact[i] + TOLERANCE));
      whole += kept[i];
    }
    long missing = Math.round(sum) - whole;
    List<Integer> order =
        IntStream.range(0, exact.length)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> kept[i] - exact[i]))
            .toList();
    for (int i : order) {
      if (missing > 0 && kept[i] < of) {
        kept[i]++;
        missing--;
      }
    }
    // Only where a block had to be given more than its share: back from those that got most.
    for (int at = order.size() - 1; missing < 0 && at >= 0; at--) {
      int i = order.get(at);
      if (kept[i] > 1) {
        kept[i]--;
        missing++;
      }
    }
  }
}
