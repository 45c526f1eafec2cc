package ai.owl.spark.report;

/**
 * What a model wrote.
 *
 * @param label of the row whose model wrote it, as {@link ai.owl.pipeline.SweepReport.Row#label}
 *     has it, or anything else, such as {@code dense}
 * @param text the prompt and what followed
 */
public record Sample(String label, String text) {}
