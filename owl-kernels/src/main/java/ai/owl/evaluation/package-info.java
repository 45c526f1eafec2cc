/**
 * How good a model is: {@link ai.owl.evaluation.Perplexity} by the protocol of the pruning papers.
 */
package ai.owl.evaluation;
