package ai.owl.pruning;

import ai.owl.calibration.ActivationStatistics;
import ai.owl.calibration.Gram;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.kernel.ErrorCompensation;
import ai.owl.kernel.InverseCholesky;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * SparseGPT (arXiv 2301.00774): removes weights column by column and changes the others so that the
 * layer's output on the calibration data stays as close as may be. With {@code H = 2/n · ΣXᵀX}, its
 * mean diagonal times {@code dampening} added to its diagonal, and U the upper Cholesky factor of
 * its inverse, goes what scores lowest in {@code W_ij² / U_jj²}; see {@link ErrorCompensation}.
 *
 * <p>Features that are never active are given up: their weights become zero. If H is not positive
 * definite, the dampening is raised tenfold, twice at most, and the user is told; SparseGPT never
 * goes on without its Hessian.
 *
 * @param dampening published 0.01
 * @param blockColumns columns whose weights are compared with each other; published 128
 */
public record SparseGpt(double dampening, int blockColumns) implements Pruner {
  private static final double PUBLISHED_DAMPENING = 0.01;
  private static final int PUBLISHED_BLOCK = 128;
  private static final int ATTEMPTS = 3;

  /** As published. */
  public SparseGpt() {
    this(PUBLISHED_DAMPENING, PUBLISHED_BLOCK);
  }

  public SparseGpt {
    if (!(dampening >= 0 && dampening <= 100)) {
      throw new IllegalArgumentException(
          "Cannot use --dampening "
              + dampening
              + ": it is the share of the Hessian's mean diagonal that is added to it, in [0, 100]");
    }
    if (blockColumns < 1 || blockColumns > 1 << 14) {
      throw new IllegalArgumentException(
          "Cannot use --block-columns " + blockColumns + ": it is at least 1 and at most 16384");
    }
  }

  @Override
  public String name() {
    return "sparsegpt";
  }

  @Override
  public Map<String, String> settings() {
    Map<String, String> settings = new LinkedHashMap<>();
    if (dampening != PUBLISHED_DAMPENING) {
      settings.put("dampening", Double.toString(dampening));
    }
    if (blockColumns != PUBLISHED_BLOCK) {
      settings.put("block-columns", Integer.toString(blockColumns));
    }
    return settings;
  }

  @Override
  public Evidence needs() {
    return Evidence.GRAM;
  }

  @Override
  public List<String> prune(
      Matrix weight, Optional<ActivationStatistics> statistics, SparsityPattern pattern) {
    try (PreparedPruner prepared = prepare(statistics)) {
      return prepared.prune(weight, pattern);
    }
  }

  /**
   * Bytes of memory while a linear layer is pruned: Gram matrix and factor in float32, what factors
   * it in float64, and the weights.
   */
  public static long workingBytes(LinearLayer linear) {
    int n = linear.inFeatures();
    return 2L * Float.BYTES * n * n
        + InverseCholesky.workingBytes(n)
        + Float.BYTES * linear.weight().elements();
  }

  /** Factors the inverse of the Hessian, which is the input's and not the weights'. */
  @Override
  public PreparedPruner prepare(Optional<ActivationStatistics> statistics) {
    Gram gram = (Gram) statistics.orElseThrow();
    double scale = 2.0 / gram.sequences();
    double[] diagonal = gram.diagonal();
    boolean[] dead = new boolean[diagonal.length];
    double mean = 0;
    for (int j = 0; j < diagonal.length; j++) {
      if (!(diagonal[j] <= Float.MAX_VALUE)) {
        throw new MalformedCheckpointException(
            "the squared norm of input feature "
                + j
                + " is "
                + diagonal[j]
                + "; the checkpoint overflows float32, or is damaged");
      }
      diagonal[j] *= scale;
      if (diagonal[j] == 0) {
        diagonal[j] = 1;
        dead[j] = true;
      }
      mean += diagonal[j] / diagonal.length;
    }
    List<String> notes = new ArrayList<>();
    Matrix upper = factor(gram.products(), scale, diagonal, mean, notes);
    return new Prepared(upper, dead, List.copyOf(notes), blockColumns);
  }

  /**
   * @param upper U, closed with this
   * @param dead features that are never active
   * @param notes on how the factorization went
   */
  private record Prepared(Matrix upper, boolean[] dead, List<String> notes, int blockColumns)
      implements PreparedPruner {
    @Override
    public List<String> prune(Matrix weight, SparsityPattern pattern) {
      zeroColumns(weight, dead);
      if (pattern instanceof SparsityPattern.NofM nm) {
        ErrorCompensation.prune(weight, upper, nm.kept(), nm.of(), blockColumns);
      } else {
        ErrorCompensation.prune(weight, upper, pattern.sparsity(), blockColumns);
      }
      return notes;
    }

    @Override
    public void close() {
      upper.close();
    }
  }

  private Matrix factor(
      Matrix gram, double scale, double[] diagonal, double mean, List<String> notes) {
    double damp = dampening;
    for (int attempt = 1; ; attempt++) {
      double[] damped = new double[diagonal.length];
      for (int j = 0; j < damped.length; j++) {
        damped[j] = diagonal[j] + damp * mean;
      }
      try {
        return InverseCholesky.upperFactor(gram, scale, damped);
      } catch (InverseCholesky.NotPositiveDefiniteException e) {
        if (attempt == ATTEMPTS || damp == 0) {
          throw new IllegalArgumentException(
              "the Hessian is not positive definite at column "
                  + e.column()
                  + " with --dampening "
                  + damp
                  + "; give "
                  + (damp == 0 ? "a positive one" : "a larger one")
                  + ", or more calibration data");
        }
        notes.add(
            "the Hessian is not positive definite at column "
                + e.column()
                + " with dampening "
                + (float) damp
                + ": raised to "
                + (float) (damp * 10));
        damp *= 10;
      }
    }
  }

  private static void zeroColumns(Matrix weight, boolean[] dead) {
    float[] row = new float[weight.cols()];
    for (int j = 0; j < dead.length; j++) {
      if (dead[j]) {
        for (long r = 0; r < weight.rows(); r++) {
          weight.copyFrom(r, j, row, 0, 1);
        }
      }
    }
  }
}
