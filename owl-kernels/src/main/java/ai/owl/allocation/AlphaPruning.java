package ai.owl.allocation;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * AlphaPruning (arXiv 2410.10912): layers whose spectrum has a heavy tail have learnt more and keep
 * more. With α the exponent of the tail ({@link AlphaFit}), as a mean over each block's linear
 * layers,
 *
 * <pre>
 * r_i = (1 − ε) + 2ε · (α_i − min α) / (max α − min α)          in [1 − ε, 1 + ε]
 * s_i = S · r_i · ΣN / Σ(N · r)                                 N: weights
 * </pre>
 *
 * The mean weighted by size is S. Looks at weights only; takes the eigenvalues of every matrix.
 *
 * @param fit where the tail begins
 * @param epsilon ε, the half of the range relative to its middle
 * @param perLinear whether each linear layer has its own α, and not its block's mean
 */
public record AlphaPruning(AlphaFit fit, double epsilon, boolean perLinear)
    implements SparsityAllocator {
  public AlphaPruning {
    if (!(epsilon >= 0 && epsilon <= 1)) {
      throw new IllegalArgumentException(
          "Cannot use --epsilon "
              + epsilon
              + ": it must be in [0, 1], since sparsities go from 1 - epsilon to 1 + epsilon times"
              + " one value");
    }
  }

  @Override
  public String name() {
    return "alpha";
  }

  @Override
  public String label() {
    return "alpha "
        + fit
        + " ε="
        + OutlierRule.plain(epsilon)
        + (perLinear ? " by linear layer" : "");
  }

  @Override
  public Map<String, Object> settings() {
    Map<String, Object> settings = new LinkedHashMap<>();
    settings.put("alphaFit", fit.toString());
    settings.put("epsilon", epsilon);
    settings.put("alphaPerLinear", perLinear);
    return settings;
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of(Evidence.SPECTRA);
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    LinearUnits units = new LinearUnits(name(), profiles);
    double[] alphas = alphas(units);
    double[] unitAlphas = perLinear ? alphas : blockMeans(profiles, alphas);
    double[] weights =
        perLinear
            ? units.linears().stream().mapToDouble(LinearProfile::weights).toArray()
            : profiles.stream().mapToDouble(LayerProfile::weights).toArray();
    double min = Double.POSITIVE_INFINITY;
    double max = Double.NEGATIVE_INFINITY;
    for (double alpha : unitAlphas) {
      min = Math.min(min, alpha);
      max = Math.max(max, alpha);
    }
    if (!(max > min)) {
      return SparsityAllocation.ofBlocks(
          target,
          Collections.nCopies(profiles.size(), target),
          profiles,
          List.of(
              "alpha cannot tell the "
                  + (perLinear ? "linear layers" : "blocks")
                  + " apart (the only exponent is "
                  + min
                  + "): all get the target sparsity"));
    }
    double[] sparsities = sparsities(unitAlphas, weights, min, max, target, units);
    if (perLinear) {
      return units.allocation(target, sparsities, List.of());
    }
    List<Double> list = new ArrayList<>();
    for (double sparsity : sparsities) {
      list.add(sparsity);
    }
    return SparsityAllocation.ofBlocks(target, list, profiles, List.of());
  }

  /** The exponent of every linear layer. */
  private double[] alphas(LinearUnits units) {
    for (int i = 0; i < units.size(); i++) {
      units.require(!units.linears().get(i).spectrum().isEmpty(), i, Evidence.SPECTRA);
    }
    // Each takes about the square of its rank; the results are independent of each other.
    double[] alphas =
        IntStream.range(0, units.size())
            .parallel()
            .mapToDouble(i -> fit.alpha(units.linears().get(i).spectrum()))
            .toArray();
    for (int i = 0; i < alphas.length; i++) {
      if (Double.isNaN(alphas[i])) {
        throw new IllegalArgumentException(
            "Cannot allocate by alpha: no power law fits the "
                + units.linears().get(i).spectrum().size()
                + " eigenvalues of "
                + units.name(i)
                + " with --alpha-fit "
                + fit
                + "; use another one, or another --allocation");
      }
    }
    return alphas;
  }

  private static double[] blockMeans(List<LayerProfile> profiles, double[] alphas) {
    double[] means = new double[profiles.size()];
    int unit = 0;
    for (int i = 0; i < means.length; i++) {
      int count = profiles.get(i).linears().size();
      for (int j = 0; j < count; j++) {
        means[i] += alphas[unit++] / count;
      }
    }
    return means;
  }

  private double[] sparsities(
      double[] alphas, double[] weights, double min, double max, double target, LinearUnits units) {
    double[] relative = new double[alphas.length];
    double all = 0;
    double scaled = 0;
    double tilt = 0; // Σ N · (r − 1) / ε
    for (int i = 0; i < alphas.length; i++) {
      double place = (alphas[i] - min) / (max - min);
      relative[i] = place * (2 * epsilon) + (1 - epsilon);
      all += weights[i];
      scaled += weights[i] * relative[i];
      tilt += weights[i] * (2 * place - 1);
    }
    double level = target * all / scaled;
    double[] sparsities = new double[alphas.length];
    for (int i = 0; i < alphas.length; i++) {
      sparsities[i] = level * relative[i];
      if (!(sparsities[i] < 1)) {
        // S · (1 + ε) / (1 + ε · tilt / ΣN) reaches 1 where ε = (1 − S) / (S − tilt / ΣN)
        double limit = (1 - target) / (target - tilt / all);
        throw new IllegalArgumentException(
            String.format(
                Locale.ROOT,
                "Cannot allocate sparsity %s over %d %s with --epsilon %s: %s would get %.4f,"
                    + " outside [0, 1); use %s",
                target,
                alphas.length,
                perLinear ? "linear layers" : "blocks",
                epsilon,
                perLinear ? units.name(i) : "block " + i,
                sparsities[i],
                MinMaxSpread.below("--epsilon", limit)));
      }
    }
    return sparsities;
  }
}
