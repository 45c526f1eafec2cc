package ai.owl.spark.pipeline;

import java.io.Serializable;

/**
 * The unit of work across sequences: one sequence. Fixed by the data and not by the cluster, so
 * that sums over slices, taken in their order, are the same for any number of partitions.
 *
 * @param index 0-based position in the calibration or evaluation set
 * @param ids token ids
 */
record Slice(int index, int[] ids) implements Serializable {}
