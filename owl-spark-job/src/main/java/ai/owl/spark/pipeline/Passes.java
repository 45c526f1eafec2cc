package ai.owl.spark.pipeline;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.Perplexity;
import ai.owl.model.BlockLayout;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.PruneRun;
import ai.owl.pipeline.StageClock;
import ai.owl.pruning.Pruner;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedSet;
import java.util.UUID;
import java.util.function.Function;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;

/**
 * The jobs that one model is taken through: passes of sequences through its blocks, a job a block,
 * and flat jobs with a task a block.
 */
final class Passes implements AutoCloseable {
  private final JavaSparkContext spark;
  private final ExecutorBlocks.Source source;
  private final ModelLayout model;
  private final List<BlockLayout> blocks;
  private final StageClock clock;
  private final int partitions;
  private final FlatJobProgress jobs;

  /**
   * @param partitions into how many tasks sequences are cut at most
   */
  Passes(
      JavaSparkContext spark,
      Storage storage,
      ModelLayout model,
      StageClock clock,
      Progress progress,
      int partitions) {
    this.spark = spark;
    this.source = new ExecutorBlocks.Source(UUID.randomUUID().toString(), storage, model.config());
    this.model = model;
    this.blocks = model.blocks();
    this.clock = clock;
    this.partitions = partitions;
    this.jobs = new FlatJobProgress(spark, progress);
  }

  /** The statistics of every block of the dense model. */
  List<BlockStatistics> dense(TokenSequences sequences) {
    clock.begin(PruneRun.CALIBRATE, blocks.size());
    List<BlockStatistics> statistics = new ArrayList<>();
    try (HiddenStates hidden = embed(sequences)) {
      for (BlockLayout block : blocks) {
        List<BlockLayout> next = after(block);
        Step step = next.isEmpty() ? new Step.Observe(block) : new Step.Advance(block, true, next);
        BlockStatistics merged = hidden.step(describe(PruneRun.CALIBRATE, block), step);
        merged.requireFinite(block.index());
        statistics.add(merged);
        clock.step(name(block));
      }
    }
    return statistics;
  }

  /** The outliers of every block. */
  List<LayerProfile> profile(List<BlockStatistics> statistics, SortedSet<Double> thresholds) {
    List<ProfileTask> tasks = new ArrayList<>();
    for (BlockLayout block : blocks) {
      tasks.add(new ProfileTask(block, statistics.get(block.index()), thresholds));
    }
    clock.begin(PruneRun.PROFILE, tasks.size());
    Broadcast<Object> shared = spark.broadcast(source);
    try {
      return jobs.run(
          "count outliers of " + tasks.size() + " blocks",
          tasks.size(),
          () ->
              spark
                  .parallelize(tasks, tasks.size())
                  .map(task -> ProfileTask.carryOut((ExecutorBlocks.Source) shared.value(), task))
                  .collect());
    } finally {
      shared.destroy();
    }
  }

  /**
   * The statistics of every block on what the pruned blocks before it produce.
   *
   * @param dense the dense model's statistics, or none: those of the first block are the same
   */
  List<BlockStatistics> sequential(
      TokenSequences sequences,
      Pruner pruner,
      List<BlockStatistics> dense,
      SparsityAllocation allocation) {
    clock.begin(PruneRun.PROPAGATE, blocks.size());
    List<BlockStatistics> statistics = new ArrayList<>();
    try (HiddenStates hidden = embed(sequences)) {
      for (BlockLayout block : blocks) {
        int index = block.index();
        String description = describe(PruneRun.PROPAGATE, block);
        BlockStatistics merged;
        if (index > 0) {
          PrunedBlock before =
              new PrunedBlock(
                  blocks.get(index - 1),
                  pruner,
                  statistics.get(index - 1),
                  allocation.sparsity(index - 1));
          merged = hidden.step(description, new Step.AdvancePruned(before, true, List.of(block)));
        } else if (dense.isEmpty()) {
          merged = hidden.step(description, new Step.Observe(block));
        } else {
          merged = dense.get(0);
        }
        merged.requireFinite(index);
        statistics.add(merged);
        clock.step(name(block));
      }
    }
    return statistics;
  }

  /** How every block is to be pruned. */
  List<PrunedBlock> plan(
      Pruner pruner, List<BlockStatistics> statistics, SparsityAllocation allocation) {
    List<PrunedBlock> plan = new ArrayList<>();
    for (BlockLayout block : blocks) {
      plan.add(
          new PrunedBlock(
              block,
              pruner,
              pruner.needsStatistics() ? statistics.get(block.index()) : new BlockStatistics(),
              allocation.sparsity(block.index())));
    }
    return plan;
  }

  /** Carries out tasks that need one block each. */
  List<ShardTask.Done> flat(String description, List<ShardTask> tasks) {
    clock.begin(PruneRun.PRUNE, tasks.size());
    Broadcast<Object> shared = spark.broadcast(source);
    try {
      return jobs.run(
          description,
          tasks.size(),
          () ->
              spark
                  .parallelize(tasks, tasks.size())
                  .map(task -> ShardTask.carryOut((ExecutorBlocks.Source) shared.value(), task))
                  .collect());
    } finally {
      shared.destroy();
    }
  }

  /** The perplexity of the model as it is. */
  Perplexity evaluate(TokenSequences windows) {
    return evaluate(windows, block -> new Step.Advance(block, false, after(block)));
  }

  /** The perplexity the model would have if its blocks were pruned so; nothing is written. */
  Perplexity evaluate(TokenSequences windows, List<PrunedBlock> plan) {
    return evaluate(
        windows, block -> new Step.AdvancePruned(plan.get(block.index()), false, after(block)));
  }

  private Perplexity evaluate(TokenSequences windows, Function<BlockLayout, Step> step) {
    clock.begin(PruneRun.EVALUATE, blocks.size());
    try (HiddenStates hidden = embed(windows)) {
      for (BlockLayout block : blocks) {
        hidden.step(describe(PruneRun.EVALUATE, block), step.apply(block));
        clock.step(name(block));
      }
      double[] losses = hidden.losses(PruneRun.EVALUATE + ": language-model head", model);
      return Perplexity.of(losses, windows.tokens());
    }
  }

  private HiddenStates embed(TokenSequences sequences) {
    return HiddenStates.embed(spark, source, model, sequences, partitions);
  }

  private List<BlockLayout> after(BlockLayout block) {
    int next = block.index() + 1;
    return next < blocks.size() ? List.of(blocks.get(next)) : List.of();
  }

  private static String name(BlockLayout block) {
    return "block " + block.index();
  }

  private String describe(String stage, BlockLayout block) {
    return stage + ": block " + block.index() + " of 0.." + (blocks.size() - 1);
  }

  @Override
  public void close() {
    jobs.close();
    ExecutorBlocks.clear();
  }
}
