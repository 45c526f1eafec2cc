package ai.owl.allocation;

/** What an allocator can ask to be measured of the dense model's blocks. */
public enum Evidence {
  /** Outlier counts of blocks and of linear layers. */
  OUTLIERS(true),
  /** Sums of the scores {@code |W_ij| · ‖x_j‖₂}. */
  SCORE_SUMS(true),
  /** How the scores {@code |W_ij| · ‖x_j‖₂} of each linear layer are distributed. */
  SCORES(true),
  /** How the magnitudes {@code |W_ij|} of each linear layer are distributed. */
  MAGNITUDES(false),
  /** The squared singular values of each linear layer. */
  SPECTRA(false);

  private final boolean ofActivations;

  Evidence(boolean ofActivations) {
    this.ofActivations = ofActivations;
  }

  /** Whether it takes a pass of calibration sequences through the dense model. */
  public boolean isOfActivations() {
    return ofActivations;
  }
}
