/**
 * Evidence: what a model is shown before it is pruned, and what is kept of the activations that
 * causes.
 *
 * <p>Text is read ({@link ai.owl.calibration.TextDocuments}), tokenized as the checkpoint says
 * ({@link ai.owl.calibration.TextTokenizer}) and cut into sequences ({@link
 * ai.owl.calibration.WindowSampling} for calibration, {@link ai.owl.calibration.EvaluationWindows}
 * for perplexity); or the sequences are given as numbers ({@link ai.owl.calibration.TokenFile}).
 * Choices that are scored against each other are packed together ({@link
 * ai.owl.calibration.PackedSequences}). Of the activations only sums are kept, which can be added
 * to and merged ({@link ai.owl.calibration.BlockStatistics}).
 */
package ai.owl.calibration;
