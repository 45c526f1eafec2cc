package ai.owl.pruning;

import ai.owl.calibration.ActivationStatistics;
import ai.owl.calibration.ColumnNorms;
import ai.owl.kernel.CumulativeShare;
import ai.owl.kernel.WeightScores;
import ai.owl.tensor.Matrix;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Wanda with rows of different sparsity, {@code --use_variant} of its published code: every row
 * loses the smallest scores that make up a share α of the row's sum, and α is searched so that the
 * matrix as a whole meets its sparsity, within 0.001.
 */
public record WandaVariant() implements Pruner {
  @Override
  public String name() {
    return "wanda";
  }

  @Override
  public Map<String, String> settings() {
    return Map.of("use-variant", "true");
  }

  @Override
  public Evidence needs() {
    return Evidence.NORMS;
  }

  @Override
  public List<String> prune(
      Matrix weight, Optional<ActivationStatistics> statistics, SparsityPattern pattern) {
    if (pattern instanceof SparsityPattern.NofM nm) {
      throw new IllegalArgumentException(
          "Cannot use --use-variant with --pattern "
              + nm.label()
              + ": it decides how many weights of a row go, which the pattern has decided");
    }
    WeightScores scores = WeightScores.weighted(((ColumnNorms) statistics.orElseThrow()).norms());
    double reached = CumulativeShare.zero(weight, scores, pattern.sparsity());
    return Math.abs(reached - pattern.sparsity()) <= 0.001
        ? List.of()
        : List.of(
            "the search for a common share of the rows' scores ended at a sparsity of "
                + Math.round(reached * 1e4) / 1e4
                + " instead of "
                + pattern.sparsity());
  }
}
