/**
 * The MLlib face: {@code Estimator}s, {@code Model}s, a {@code Transformer} and an {@code
 * Evaluator} for those who work in a notebook or build pipelines. Nothing is computed here; the
 * allocations are {@link ai.owl.allocation}'s, and what touches a checkpoint is {@link
 * ai.owl.spark.pipeline.SparkPipeline}.
 *
 * <p>Each {@code Param} is a public method without arguments, since that is where Spark looks for
 * them, and is made whenever it is asked for: a {@code Param} is a value, equal to any other of its
 * owner and name. The methods are in interfaces that an {@code Estimator} shares with its {@code
 * Model}. Values are checked by the record that they go into.
 *
 * <p>Only what Spark 3.5 and 4.x have in common is used.
 */
package ai.owl.spark.ml;
