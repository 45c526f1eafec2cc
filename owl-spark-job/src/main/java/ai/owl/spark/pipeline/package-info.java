/**
 * The pipeline on Spark: the stages of {@link ai.owl.pipeline.LocalPipeline}, distributed. Blocks
 * go one after the other, slices of the calibration set run through each side by side; weights go
 * from storage to executors and back and never through Spark. {@link
 * ai.owl.spark.pipeline.SparkPipeline} is all that others see.
 */
package ai.owl.spark.pipeline;
