package ai.owl.spark.pipeline;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.ProfileMeasurement;
import ai.owl.calibration.BlockStatistics;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.spark.metrics.WorkCounters;
import java.io.IOException;
import java.io.Serializable;
import java.util.Set;
import java.util.SortedSet;
import org.apache.spark.TaskContext;

/**
 * The measuring of one block for the allocators.
 *
 * @param statistics of its inputs in the dense model; of nothing if no activations are asked for
 * @param thresholds to count outliers at
 */
record ProfileTask(
    BlockLayout block,
    BlockStatistics statistics,
    SortedSet<Double> thresholds,
    Set<Evidence> asked)
    implements Serializable {

  /** Does the work on an executor. */
  static LayerProfile carryOut(
      ExecutorBlocks.Source source, ProfileTask task, WorkCounters counters)
      throws IOException, InterruptedException {
    ExecutorBlocks.shareCpus(TaskContext.get()); // with tasks that wait for their turn
    ExecutorBlocks.acquireForFlatJob();
    try (TensorReader reader = new TensorReader(source.storage());
        DecoderBlock block = DecoderBlock.loadWeights(source.config(), task.block(), reader)) {
      LayerProfile profile =
          ProfileMeasurement.of(block, task.statistics(), task.thresholds(), task.asked());
      counters.blockDone();
      return profile;
    } finally {
      ExecutorBlocks.FLAT_JOB_BLOCKS.release();
    }
  }
}
