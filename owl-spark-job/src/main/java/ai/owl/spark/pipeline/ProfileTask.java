package ai.owl.spark.pipeline;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.OutlierRatio;
import ai.owl.calibration.BlockStatistics;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import java.io.IOException;
import java.io.Serializable;
import java.util.SortedSet;

/** The counting of one block's outliers. */
record ProfileTask(BlockLayout block, BlockStatistics statistics, SortedSet<Double> thresholds)
    implements Serializable {

  /** Does the work on an executor. */
  static LayerProfile carryOut(ExecutorBlocks.Source source, ProfileTask task)
      throws IOException, InterruptedException {
    ExecutorBlocks.FLAT_JOB_BLOCKS.acquire();
    try (TensorReader reader = new TensorReader(source.storage());
        DecoderBlock block = DecoderBlock.load(source.config(), task.block(), reader)) {
      return OutlierRatio.profile(block, task.statistics(), task.thresholds());
    } finally {
      ExecutorBlocks.FLAT_JOB_BLOCKS.release();
    }
  }
}
