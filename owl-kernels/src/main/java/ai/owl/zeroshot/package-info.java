/**
 * Zero-shot tasks: multiple-choice questions that a language model answers by what it finds
 * likeliest, as lm-evaluation-harness asks and scores them.
 *
 * <p>A task is data ({@link ai.owl.zeroshot.ZeroShotTask}): which fields of an item make the
 * context, the choices and the answer. A suite ({@link ai.owl.zeroshot.TaskSuite}) holds the items
 * of some tasks as token sequences, which a pipeline runs through a model, and turns the
 * log-probabilities that come back into accuracies.
 */
package ai.owl.zeroshot;
