package ai.owl.calibration;

import ai.owl.model.LinearInput;

/** What was gathered of the activations at each input of one block. */
public sealed interface BlockEvidence permits BlockGrams, BlockStatistics {
  /**
   * The statistics at one input.
   *
   * @throws IllegalStateException if nothing was observed there
   */
  ActivationStatistics at(LinearInput input);
}
