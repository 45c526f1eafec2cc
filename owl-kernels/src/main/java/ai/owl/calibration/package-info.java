/**
 * Evidence: the token sequences a model is calibrated with, how they are drawn from text, and what
 * is kept of the activations they cause ({@link ai.owl.calibration.BlockStatistics}): sums that can
 * be added to and merged, and nothing of the activations themselves.
 */
package ai.owl.calibration;
