package ai.owl.allocation;

import ai.owl.kernel.ScoreHistogram;
import ai.owl.kernel.Spectrum;
import ai.owl.model.LinearLayer;
import java.io.Serializable;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What an allocator may know of one linear layer.
 *
 * @param name full name, such as {@code model.layers.3.mlp.up_proj}
 * @param rows out_features
 * @param cols in_features
 * @param scoreSum {@code Σ |W_ij| · ‖x_j‖₂}; NaN if nobody measured
 * @param outliers for every threshold M asked for, how many scores exceed M times the mean score of
 *     this layer (not of its block); empty if nobody counted
 * @param scores how the {@code |W_ij| · ‖x_j‖₂} are distributed; empty if nobody measured
 * @param magnitudes how the {@code |W_ij|} are distributed; empty if nobody measured
 * @param spectrum the squared singular values; empty if nobody measured
 */
public record LinearProfile(
    String name,
    long rows,
    int cols,
    double scoreSum,
    SortedMap<Double, Long> outliers,
    ScoreHistogram scores,
    ScoreHistogram magnitudes,
    Spectrum spectrum)
    implements Serializable {
  public LinearProfile {
    outliers = new TreeMap<>(outliers);
  }

  /** A layer of which no distribution was measured. */
  public LinearProfile(
      String name, long rows, int cols, double scoreSum, SortedMap<Double, Long> outliers) {
    this(
        name,
        rows,
        cols,
        scoreSum,
        outliers,
        ScoreHistogram.EMPTY,
        ScoreHistogram.EMPTY,
        Spectrum.EMPTY);
  }

  /** A layer of which only the shape is known. */
  public static LinearProfile ofShape(LinearLayer linear) {
    return new LinearProfile(
        linear.name(), linear.outFeatures(), linear.inFeatures(), Double.NaN, new TreeMap<>());
  }

  /** Number of weights. */
  public long weights() {
    return rows * cols;
  }

  /** The layer's own outlier ratio at threshold M, in percent. */
  public double outlierRatio(double threshold) {
    Long count = outliers.get(threshold);
    if (count == null) {
      throw new IllegalArgumentException(
          "Cannot give the outlier ratio of "
              + name
              + " at threshold "
              + threshold
              + ": counted were "
              + outliers.keySet());
    }
    return 100.0 * count / weights();
  }

  public LinearProfile withScores(ScoreHistogram measured) {
    return new LinearProfile(name, rows, cols, scoreSum, outliers, measured, magnitudes, spectrum);
  }

  public LinearProfile withMagnitudes(ScoreHistogram measured) {
    return new LinearProfile(name, rows, cols, scoreSum, outliers, scores, measured, spectrum);
  }

  public LinearProfile withSpectrum(Spectrum measured) {
    return new LinearProfile(name, rows, cols, scoreSum, outliers, scores, magnitudes, measured);
  }

  /** What either knows; what both do, as the other has it. */
  LinearProfile with(LinearProfile other) {
    SortedMap<Double, Long> counted = new TreeMap<>(outliers);
    counted.putAll(other.outliers);
    return new LinearProfile(
        name,
        rows,
        cols,
        Double.isNaN(other.scoreSum) ? scoreSum : other.scoreSum,
        counted,
        other.scores.isEmpty() ? scores : other.scores,
        other.magnitudes.isEmpty() ? magnitudes : other.magnitudes,
        other.spectrum.isEmpty() ? spectrum : other.spectrum);
  }

  /** What a report keeps: all but histograms and spectra, which are large. */
  LinearProfile withoutDistributions() {
    return new LinearProfile(name, rows, cols, scoreSum, outliers);
  }
}
