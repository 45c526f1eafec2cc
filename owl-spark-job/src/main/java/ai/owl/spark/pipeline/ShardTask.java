package ai.owl.spark.pipeline;

import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.DecoderBlock;
import ai.owl.pipeline.BlockShard;
import ai.owl.pipeline.OutputCheckpoint;
import ai.owl.pruning.BlockPruner;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import java.io.IOException;
import java.io.Serializable;
import java.util.List;

/** The making of one shard of the output. */
sealed interface ShardTask extends Serializable {
  /** Prune a block and write it. */
  record Prune(PrunedBlock block, String location) implements ShardTask {}

  /** Copy the tensors that belong to no block. */
  record CopyOutside(List<TensorRef> tensors, String location) implements ShardTask {}

  /**
   * A shard that is written.
   *
   * @param linears what became of the block's linear layers; empty for what is no block
   */
  record Done(ShardReceipt receipt, List<PrunedLinear> linears) implements Serializable {}

  /** Does the work on an executor. */
  static Done carryOut(ExecutorBlocks.Source source, ShardTask task)
      throws IOException, InterruptedException {
    if (task instanceof CopyOutside copy) {
      ShardReceipt receipt =
          OutputCheckpoint.writeOutside(source.storage(), copy.location(), copy.tensors());
      return new Done(receipt, List.of());
    }
    Prune prune = (Prune) task;
    PrunedBlock plan = prune.block();
    ExecutorBlocks.FLAT_JOB_BLOCKS.acquire();
    try (TensorReader reader = new TensorReader(source.storage());
        DecoderBlock block = DecoderBlock.load(source.config(), plan.layout(), reader)) {
      List<PrunedLinear> linears =
          BlockPruner.prune(block, plan.pruner(), plan.statistics(), plan.sparsity());
      return new Done(BlockShard.write(source.storage(), prune.location(), block), linears);
    } finally {
      ExecutorBlocks.FLAT_JOB_BLOCKS.release();
    }
  }
}
