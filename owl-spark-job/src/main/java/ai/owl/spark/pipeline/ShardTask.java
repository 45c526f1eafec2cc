package ai.owl.spark.pipeline;

import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.DecoderBlock;
import ai.owl.pipeline.BlockShard;
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
  record Prune(PrunedBlock block, OutputShard shard) implements ShardTask {}

  /** Prune a block and count, but write nothing. */
  record Count(PrunedBlock block) implements ShardTask {}

  /** Copy tensors as they are: those of no block, or those of a block that is pruned already. */
  record Copy(List<TensorRef> tensors, OutputShard shard) implements ShardTask {}

  /**
   * A task that is done.
   *
   * @param receipt of the shard, if one was written
   * @param linears what became of the block's linear layers; empty if it pruned none
   */
  record Done(List<ShardReceipt> receipt, List<PrunedLinear> linears) implements Serializable {}

  /** Does the work on an executor. */
  static Done carryOut(ExecutorBlocks.Source source, ShardTask task, WorkCounters counters)
      throws IOException, InterruptedException {
    if (task instanceof Copy copy) {
      ShardReceipt receipt = copy.shard().copy(source.storage(), copy.tensors());
      return new Done(List.of(receipt), List.of());
    }
    PrunedBlock plan = task instanceof Prune prune ? prune.block() : ((Count) task).block();
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    ExecutorBlocks.acquireForFlatJob();
    try (TensorReader reader = new TensorReader(source.storage());
        DecoderBlock block = DecoderBlock.loadWeights(source.config(), plan.layout(), reader)) {
      List<PrunedLinear> linears =
          BlockPruner.prune(block, plan.pruner(), plan.statistics(), plan.patterns());
      List<ShardReceipt> receipt =
          task instanceof Prune prune
              ? List.of(BlockShard.write(source.storage(), prune.shard(), block))
              : List.of();
      linears.forEach(linear -> counters.removed(linear.zeros()));
      counters.blockDone();
      return new Done(receipt, linears);
    } finally {
      ExecutorBlocks.FLAT_JOB_BLOCKS.release();
    }
  }
}
