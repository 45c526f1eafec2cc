/**
 * Which weights go: the algorithms that, given a weight matrix, what is known of its input, and a
 * sparsity, set weights to zero ({@link ai.owl.pruning.Pruner}). They are handed a number and know
 * nothing of how it was found.
 */
package ai.owl.pruning;
