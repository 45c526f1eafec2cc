package ai.owl.pruning;

import ai.owl.kernel.RelativeImportance;
import ai.owl.kernel.WeightScores;
import ai.owl.tensor.Matrix;

/**
 * RIA, relative importance and activations (Zhang et al., ICLR 2024, "Plug-and-Play"): {@code
 * (|W_ij| / Σ_i |W_ij| + |W_ij| / Σ_j |W_ij|) · ‖x_j‖₂^a} with the mean square norm of the feature
 * under the power, so that weights of a silent row or column are not all lost. Compared over the
 * whole matrix, as its code does by default.
 *
 * @param activationPower a; published 0.5
 */
public record Ria(double activationPower) implements PruningMetric {
  public Ria() {
    this(0.5);
  }

  public Ria {
    if (!(activationPower >= 0 && activationPower <= 4)) {
      throw new IllegalArgumentException(
          "Cannot use --activation-power "
              + activationPower
              + ": it is the power of the activations' norms, in [0, 4]");
    }
  }

  @Override
  public String name() {
    return "ria";
  }

  @Override
  public boolean needsNorms() {
    return true;
  }

  @Override
  public ComparisonGroup publishedGroup() {
    return ComparisonGroup.MATRIX;
  }

  @Override
  public WeightScores scores(Matrix weight, float[] norms) {
    return RelativeImportance.of(weight, norms, activationPower);
  }
}
