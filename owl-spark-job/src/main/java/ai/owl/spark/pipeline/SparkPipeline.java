package ai.owl.spark.pipeline;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.Perplexity;
import ai.owl.model.BlockLayout;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.OutputCheckpoint;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.PruneRun;
import ai.owl.pipeline.StageClock;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;

/**
 * The stages of {@link ai.owl.pipeline.LocalPipeline} on a Spark cluster, with the same result to
 * the byte.
 *
 * <p>A pass through the model is a row of jobs, one a block, whose tasks take slices of the
 * sequences through it. Counting outliers and pruning are one flat job each, with a task a block.
 * The driver sees statistics, receipts and losses; weights go from storage to executors and back.
 */
public final class SparkPipeline {
  private static final int TASKS_PER_SLOT = 4; // so that a slow task leaves little to wait for

  private final JavaSparkContext spark;
  private final Storage storage;
  private final Progress progress;
  private final int partitions;

  /** A pipeline that cuts the sequences into a few tasks for every slot of the cluster. */
  public SparkPipeline(JavaSparkContext spark, Storage storage, Progress progress) {
    this(spark, storage, progress, TASKS_PER_SLOT * spark.defaultParallelism());
  }

  /**
   * @param partitions into how many tasks the sequences are cut at most; the result does not depend
   *     on it
   */
  public SparkPipeline(JavaSparkContext spark, Storage storage, Progress progress, int partitions) {
    this.spark = spark;
    this.storage = storage;
    this.progress = progress;
    this.partitions = partitions;
  }

  /**
   * Prunes a checkpoint.
   *
   * @param calibration the sequences that activations are measured on; may be empty if {@link
   *     PruneOptions#needsCalibration} is false
   * @param evaluation windows to measure perplexity on before and after, if any
   */
  public PruneReport prune(
      PruneOptions options,
      Optional<TokenSequences> calibration,
      Optional<TokenSequences> evaluation)
      throws IOException {
    PruneRun run = PruneRun.plan(storage, options, calibration, evaluation, progress);
    ModelLayout model = run.model();
    ExecutorBlocks.Source source = source(model);
    OutputCheckpoint output = run.begin();
    try (FlatJobProgress jobs = new FlatJobProgress(spark, progress)) {
      List<BlockStatistics> dense = options.needsDensePass() ? densePass(run, source) : List.of();
      List<LayerProfile> profiles =
          options.allocator().needsOutlierRatios()
              ? profile(run, source, dense, jobs)
              : run.profilesWithoutOutliers();
      SparsityAllocation allocation = run.allocate(profiles);
      List<BlockStatistics> statistics =
          options.needsSequentialPass() ? sequentialPass(run, source, dense, allocation) : dense;
      List<List<PrunedLinear>> linears = new ArrayList<>();
      List<ShardReceipt> receipts = new ArrayList<>();
      for (ShardTask.Done shard : write(run, source, statistics, allocation, output, jobs)) {
        receipts.add(shard.receipt());
        if (!shard.linears().isEmpty()) {
          linears.add(shard.linears());
        }
      }
      run.clock().begin(PruneRun.COMMIT, 1);
      output.commit(receipts);
      PruneReport report = run.report(profiles, allocation, linears);
      return run.finish(
          report, location -> evaluate(location, evaluation.orElseThrow(), run.clock()));
    } catch (Throwable e) {
      output.abort();
      throw causeOf(e);
    } finally {
      ExecutorBlocks.clear();
    }
  }

  /** The perplexity of any checkpoint. */
  public Perplexity evaluate(String location, TokenSequences windows) throws IOException {
    try {
      return evaluate(location, windows, new StageClock(progress));
    } catch (Throwable e) {
      throw causeOf(e);
    } finally {
      ExecutorBlocks.clear();
    }
  }

  private static ExecutorBlocks.Source source(Storage storage, ModelLayout model) {
    return new ExecutorBlocks.Source(UUID.randomUUID().toString(), storage, model.config());
  }

  private ExecutorBlocks.Source source(ModelLayout model) {
    return source(storage, model);
  }

  /** The statistics of every block of the dense model. */
  private List<BlockStatistics> densePass(PruneRun run, ExecutorBlocks.Source source) {
    List<BlockLayout> blocks = run.model().blocks();
    run.clock().begin(PruneRun.CALIBRATE, blocks.size());
    List<BlockStatistics> statistics = new ArrayList<>();
    try (HiddenStates hidden = embed(source, run.model(), run.calibration())) {
      for (BlockLayout block : blocks) {
        Step step =
            run.isLast(block)
                ? new Step.Observe(block)
                : new Step.Advance(block, true, List.of(blocks.get(block.index() + 1)));
        BlockStatistics merged = hidden.step(describe(PruneRun.CALIBRATE, block, blocks), step);
        merged.requireFinite(block.index());
        statistics.add(merged);
        run.clock().step(name(block));
      }
    }
    return statistics;
  }

  /** The outliers of every block. */
  private List<LayerProfile> profile(
      PruneRun run,
      ExecutorBlocks.Source source,
      List<BlockStatistics> statistics,
      FlatJobProgress jobs) {
    List<ProfileTask> tasks = new ArrayList<>();
    for (BlockLayout block : run.model().blocks()) {
      tasks.add(new ProfileTask(block, statistics.get(block.index()), run.thresholds()));
    }
    run.clock().begin(PruneRun.PROFILE, tasks.size());
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

  /** The statistics of every block on what the pruned blocks before it produce. */
  private List<BlockStatistics> sequentialPass(
      PruneRun run,
      ExecutorBlocks.Source source,
      List<BlockStatistics> dense,
      SparsityAllocation allocation) {
    List<BlockLayout> blocks = run.model().blocks();
    run.clock().begin(PruneRun.PROPAGATE, blocks.size());
    List<BlockStatistics> statistics = new ArrayList<>();
    try (HiddenStates hidden = embed(source, run.model(), run.calibration())) {
      for (BlockLayout block : blocks) {
        int index = block.index();
        BlockStatistics merged;
        if (index == 0) {
          // Nothing is pruned before the first block: a dense pass has seen the same inputs.
          merged =
              dense.isEmpty()
                  ? hidden.step(
                      describe(PruneRun.PROPAGATE, block, blocks), new Step.Observe(block))
                  : dense.get(0);
        } else {
          PrunedBlock before = pruned(run, blocks.get(index - 1), statistics, allocation);
          merged =
              hidden.step(
                  describe(PruneRun.PROPAGATE, block, blocks),
                  new Step.AdvancePruned(before, block));
        }
        merged.requireFinite(index);
        statistics.add(merged);
        run.clock().step(name(block));
      }
    }
    return statistics;
  }

  /** Prunes and writes every block, and copies the rest. */
  private List<ShardTask.Done> write(
      PruneRun run,
      ExecutorBlocks.Source source,
      List<BlockStatistics> statistics,
      SparsityAllocation allocation,
      OutputCheckpoint output,
      FlatJobProgress jobs) {
    List<ShardTask> tasks = new ArrayList<>();
    for (BlockLayout block : run.model().blocks()) {
      tasks.add(
          new ShardTask.Prune(
              pruned(run, block, statistics, allocation), output.blockShard(block.index())));
    }
    tasks.add(new ShardTask.CopyOutside(run.model().outside(), output.outsideShard()));
    run.clock().begin(PruneRun.PRUNE, tasks.size());
    Broadcast<Object> shared = spark.broadcast(source);
    String description =
        String.format(
            "prune %d blocks with %s to %s",
            run.model().blocks().size(), run.options().pruner().name(), run.options().sparsity());
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

  private static PrunedBlock pruned(
      PruneRun run,
      BlockLayout block,
      List<BlockStatistics> statistics,
      SparsityAllocation allocation) {
    boolean needed = run.options().pruner().needsStatistics();
    return new PrunedBlock(
        block,
        run.options().pruner(),
        needed ? statistics.get(block.index()) : new BlockStatistics(),
        allocation.sparsity(block.index()));
  }

  private Perplexity evaluate(String location, TokenSequences windows, StageClock clock)
      throws IOException {
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, location));
    PruneRun.requireUsable(windows, model, "evaluation");
    List<BlockLayout> blocks = model.blocks();
    clock.begin(PruneRun.EVALUATE, blocks.size());
    try (HiddenStates hidden = embed(source(model), model, windows)) {
      for (BlockLayout block : blocks) {
        int next = block.index() + 1;
        hidden.step(
            describe(PruneRun.EVALUATE, block, blocks),
            new Step.Advance(
                block, false, next < blocks.size() ? List.of(blocks.get(next)) : List.of()));
        clock.step(name(block));
      }
      double[] losses = hidden.losses(PruneRun.EVALUATE + ": language-model head", model);
      return Perplexity.of(losses, windows.tokens());
    }
  }

  private HiddenStates embed(
      ExecutorBlocks.Source source, ModelLayout model, TokenSequences sequences) {
    return HiddenStates.embed(spark, source, model, sequences, partitions);
  }

  private static String name(BlockLayout block) {
    return "block " + block.index();
  }

  private static String describe(String stage, BlockLayout block, List<BlockLayout> blocks) {
    return stage + ": block " + block.index() + " of 0.." + (blocks.size() - 1);
  }

  /** What went wrong, out of the wrapping that a failed job puts around it. */
  private static IOException causeOf(Throwable failure) throws IOException {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof MalformedCheckpointException malformed) {
        throw malformed;
      }
      if (cause instanceof IllegalArgumentException refused) {
        throw refused;
      }
      if (cause instanceof UncheckedIOException io) {
        throw io.getCause();
      }
      if (cause instanceof IOException io) {
        throw io;
      }
      if (cause instanceof OutOfMemoryError memory) {
        throw memory;
      }
    }
    if (failure instanceof RuntimeException runtime) {
      throw runtime;
    }
    if (failure instanceof Error error) {
      throw error;
    }
    throw new IllegalStateException(failure); // SparkException is checked, but not declared
  }
}
