/**
 * In order: from a checkpoint to a pruned one. {@link ai.owl.pipeline.LocalPipeline} is the
 * readable truth, in one process; the Spark pipeline does the same in many and must give the same
 * bytes. What both are told is {@link ai.owl.pipeline.PruneOptions}, what both return is {@link
 * ai.owl.pipeline.PruneReport}, and both publish through {@link ai.owl.pipeline.OutputCheckpoint}.
 */
package ai.owl.pipeline;
