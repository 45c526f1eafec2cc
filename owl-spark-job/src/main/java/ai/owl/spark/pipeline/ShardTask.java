package ai.owl.spark.pipeline;

import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.DecoderBlock;
import ai.owl.pipeline.BlockShard;
import ai.owl.pipeline.FinishedShard;
import ai.owl.pipeline.OutputShard;
import ai.owl.pruning.BlockPruner;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.spark.metrics.WorkCounters;
import java.io.IOException;
import java.io.Serializable;
import java.util.List;
import org.apache.spark.TaskContext;

/** Work on one block, or on what belongs to none: mostly the making of a shard of the output. */
sealed interface ShardTask extends Serializable {
  /** Prune a block and write it. */
  record Prune(PrunedBlock plan, OutputShard shard) implements ShardTask {
    @Override
    public int block() {
      return plan.layout().index();
    }
  }

  /** Prune a block and count, but write nothing. */
  record Count(PrunedBlock plan) implements ShardTask {
    @Override
    public int block() {
      return plan.layout().index();
    }
  }

  /**
   * Copy tensors as they are: those of no block, or those of a block that is pruned already.
   *
   * @param block that they are of, or {@link #NO_BLOCK}
   * @param linears what became of the block's linear layers
   */
  record Copy(int block, List<TensorRef> tensors, OutputShard shard, List<PrunedLinear> linears)
      implements ShardTask {}

  int NO_BLOCK = -1;

  /** Index of the block at work. */
  int block();

  /**
   * A task that is done.
   *
   * @param shard that was written; none if none was
   * @param linears what became of the block's linear layers
   */
  record Done(List<FinishedShard> shard, List<PrunedLinear> linears) implements Serializable {}

  /** Does the work on an executor. */
  static Done carryOut(ExecutorBlocks.Source source, ShardTask task, WorkCounters counters)
      throws IOException, InterruptedException {
    Storage storage = source.storage();
    if (task instanceof Copy copy) {
      ShardReceipt receipt = copy.shard().copy(storage, copy.tensors());
      return new Done(
          List.of(copy.shard().finish(storage, receipt, copy.linears())), copy.linears());
    }
    PrunedBlock plan = task instanceof Prune prune ? prune.plan() : ((Count) task).plan();
    ExecutorBlocks.shareCpus(TaskContext.get()); // with tasks that wait for their turn
    ExecutorBlocks.acquireForFlatJob();
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.loadWeights(source.config(), plan.layout(), reader)) {
      List<PrunedLinear> linears =
          BlockPruner.prune(block, plan.pruner(), plan.statistics(), plan.patterns());
      linears.forEach(linear -> counters.removed(linear.zeros()));
      counters.blockDone();
      if (task instanceof Prune prune) {
        ShardReceipt receipt = BlockShard.write(storage, prune.shard(), block);
        return new Done(List.of(prune.shard().finish(storage, receipt, linears)), linears);
      }
      return new Done(List.of(), linears);
    } finally {
      ExecutorBlocks.FLAT_JOB_BLOCKS.release();
    }
  }
}
