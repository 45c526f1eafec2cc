package ai.owl.spark.pipeline;

import ai.owl.allocation.Evidence;
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
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pipeline.SweepRun;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * The stages of {@link ai.owl.pipeline.LocalPipeline} on a Spark cluster, with the same result to
 * the byte.
 *
 * <p>A pass through the model is a row of jobs, one a block, whose tasks take slices of the
 * sequences through it. Measuring blocks for the allocator and pruning are one flat job each, with
 * a task a block; spectra one with a task a matrix. The driver sees statistics, receipts and
 * losses; weights go from storage to executors and back.
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
   * @throws IllegalArgumentException if Spark's serializer is Kryo without {@link
   *     OwlKryoRegistrator}
   */
  public SparkPipeline(JavaSparkContext spark, Storage storage, Progress progress, int partitions) {
    OwlKryoRegistrator.requireUsable(spark.getConf());
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
    OutputCheckpoint output = run.begin();
    PruneRun.Evaluation perplexity =
        location -> evaluate(location, evaluation.orElseThrow(), run.clock());
    try (Passes passes = passes(run.model(), run.clock())) {
      Optional<Perplexity> before = run.dense(perplexity);
      List<BlockStatistics> dense =
          options.needsDensePass() ? passes.dense(run.calibration()) : List.of();
      List<LayerProfile> profiles =
          passes.profile(dense, run.thresholds(), options.allocator().needs());
      SparsityAllocation allocation = run.allocate(profiles);
      List<List<PrunedLinear>> linears = new ArrayList<>();
      List<ShardTask> tasks = new ArrayList<>();
      if (options.prunesOnTheWay()) {
        Passes.Solved solved = passes.solve(run.calibration(), options, allocation, output::part);
        linears.addAll(solved.linears());
        for (BlockLayout block : solved.blocks()) {
          tasks.add(new ShardTask.Copy(block.tensors(), output.blockShard(block.index())));
        }
      } else {
        List<BlockStatistics> statistics =
            options.needsSequentialPass()
                ? passes.sequential(run.calibration(), options, dense, allocation)
                : dense;
        for (PrunedBlock block : passes.plan(options, statistics, allocation)) {
          tasks.add(new ShardTask.Prune(block, output.blockShard(block.layout().index())));
        }
      }
      tasks.add(new ShardTask.Copy(run.model().outside(), output.outsideShard()));
      List<ShardReceipt> receipts = new ArrayList<>();
      output.clear();
      for (ShardTask.Done shard : passes.flat(describe(options, tasks.size() - 1), tasks)) {
        receipts.addAll(shard.receipt());
        if (!shard.linears().isEmpty()) {
          linears.add(shard.linears());
        }
      }
      run.clock().begin(PruneRun.COMMIT, 1);
      output.commit(receipts);
      PruneReport report = run.report(profiles, allocation, linears);
      return run.finish(report, before, perplexity);
    } catch (Throwable e) {
      output.abort();
      throw causeOf(e);
    }
  }

  private static String describe(PruneOptions options, int blocks) {
    return String.format(
        "prune %d blocks with %s to %s", blocks, options.pruner().name(), options.sparsity());
  }

  /**
   * Measures the blocks of a checkpoint as allocators look at them. Writes nothing.
   *
   * @param calibration the sequences that activations are measured on
   * @param thresholds to count outliers at
   * @return one a block, in order
   */
  public List<LayerProfile> profile(
      String location,
      TokenSequences calibration,
      SortedSet<Double> thresholds,
      Set<Evidence> asked)
      throws IOException {
    try {
      ModelLayout model = ModelLayout.of(Checkpoint.open(storage, location));
      PruneRun.requireUsable(calibration, model, "calibration");
      PruneRun.lengthWarning(calibration, model).ifPresent(progress::warn);
      try (Passes passes = passes(model, new StageClock(progress))) {
        return passes.profile(passes.dense(calibration), thresholds, asked);
      }
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  /**
   * What each sequence costs a checkpoint.
   *
   * @return the mean next-token loss of every sequence, in nats; NaN or infinite where the model's
   *     hidden states are not finite
   */
  public double[] losses(String location, TokenSequences sequences) throws IOException {
    try {
      ModelLayout model = ModelLayout.of(Checkpoint.open(storage, location));
      PruneRun.requireUsable(sequences, model, "evaluation");
      PruneRun.lengthWarning(sequences, model).ifPresent(progress::warn);
      try (Passes passes = passes(model, new StageClock(progress))) {
        return passes.losses(sequences);
      }
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  /** The perplexity of any checkpoint. */
  public Perplexity evaluate(String location, TokenSequences windows) throws IOException {
    try {
      PruneRun.lengthWarning(windows, ModelLayout.of(Checkpoint.open(storage, location)))
          .ifPresent(progress::warn);
      return evaluate(location, windows, new StageClock(progress));
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  private Perplexity evaluate(String location, TokenSequences windows, StageClock clock)
      throws IOException {
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, location));
    PruneRun.requireUsable(windows, model, "evaluation");
    try (Passes passes = passes(model, clock)) {
      return passes.evaluate(windows);
    }
  }

  /**
   * Prunes a checkpoint in many ways and measures each, without writing any. What the ways have in
   * common is done once: the pass through the dense model, its outliers, its perplexity. Every row
   * is kept in {@code output} as soon as it is known; a sweep that is started again goes on behind
   * the last.
   */
  public SweepReport sweep(SweepOptions options, TokenSequences calibration, TokenSequences windows)
      throws IOException {
    SweepRun run = SweepRun.plan(storage, options, calibration, windows, progress);
    try (Passes passes = passes(run.model(), run.clock())) {
      Perplexity dense = run.dense(() -> passes.evaluate(windows));
      List<BlockStatistics> statistics =
          run.needsDensePass() ? passes.dense(calibration) : List.of();
      List<LayerProfile> profiles = passes.profile(statistics, run.thresholds(), run.evidence());
      for (PruneOptions way : run.open()) {
        Optional<SparsityAllocation> allocation = run.allocate(way, profiles);
        if (allocation.isEmpty()) {
          continue;
        }
        try {
          measure(run, passes, way, calibration, windows, statistics, profiles, allocation.get());
        } catch (MalformedCheckpointException beyondMeasure) {
          run.leaveOut(way, beyondMeasure);
        }
      }
      return run.finish(dense);
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  /** Finds out one row of a sweep. */
  private void measure(
      SweepRun run,
      Passes passes,
      PruneOptions way,
      TokenSequences calibration,
      TokenSequences windows,
      List<BlockStatistics> dense,
      List<LayerProfile> profiles,
      SparsityAllocation allocation)
      throws IOException {
    if (way.prunesOnTheWay()) {
      try (SweepRun.Parts parts = run.parts(way)) {
        Passes.Solved solved = passes.solve(calibration, way, allocation, parts::place);
        Perplexity pruned = passes.evaluate(windows, solved);
        run.add(way, profiles, allocation, solved.linears(), pruned);
      }
      return;
    }
    List<BlockStatistics> seen =
        way.needsSequentialPass() ? passes.sequential(calibration, way, dense, allocation) : dense;
    List<PrunedBlock> plan = passes.plan(way, seen, allocation);
    List<ShardTask> counts = new ArrayList<>();
    plan.forEach(block -> counts.add(new ShardTask.Count(block)));
    List<List<PrunedLinear>> linears = new ArrayList<>();
    passes
        .flat("count what " + way.pruner().name() + " removes", counts)
        .forEach(done -> linears.add(done.linears()));
    run.add(way, profiles, allocation, linears, passes.evaluate(windows, plan));
  }

  private Passes passes(ModelLayout model, StageClock clock) {
    return new Passes(spark, storage, model, clock, progress, partitions);
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
