package ai.owl.pipeline;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.ProfileMeasurement;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.calibration.BlockGrams;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ImageSamples;
import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.evaluation.Accuracy;
import ai.owl.evaluation.AccuracyEvaluator;
import ai.owl.evaluation.Perplexity;
import ai.owl.evaluation.PerplexityEvaluator;
import ai.owl.evaluation.Quality;
import ai.owl.kernel.Compute;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.ModelLayout;
import ai.owl.pruning.BlockPruner;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.tensor.Matrix;
import ai.owl.zeroshot.TaskEvaluator;
import ai.owl.zeroshot.TaskSuite;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The whole method in one process: what the Spark pipeline distributes, in the order in which it
 * happens. Holds one block and the hidden states of all sequences in memory, and begins from the
 * beginning.
 */
public final class LocalPipeline {
  private final Storage storage;
  private final Progress progress;
  private final Optional<TaskSuite> tasks;
  private final Compute compute;

  public LocalPipeline(Storage storage, Progress progress) {
    this(storage, progress, Optional.empty(), Compute.FLOAT32);
  }

  private LocalPipeline(
      Storage storage, Progress progress, Optional<TaskSuite> tasks, Compute compute) {
    this.storage = storage;
    this.progress = progress;
    this.tasks = tasks;
    this.compute = compute;
  }

  /** This pipeline with products in something else where no {@link PruneOptions} say it. */
  public LocalPipeline withCompute(Compute value) {
    return new LocalPipeline(storage, progress, tasks, value);
  }

  /** This pipeline with tasks that models are tried at before and after they are pruned. */
  public LocalPipeline withTasks(TaskSuite suite) {
    return new LocalPipeline(storage, progress, Optional.of(suite), compute);
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
      Optional<? extends Samples> calibration,
      Optional<? extends Samples> evaluation)
      throws IOException {
    if (options.compute() != compute) {
      return withCompute(options.compute()).prune(options, calibration, evaluation);
    }
    PruneRun run =
        PruneRun.plan(storage, options, calibration, Optional.empty(), evaluation, tasks, progress);
    StageClock clock = run.clock();
    ModelLayout model = run.model();
    OutputCheckpoint output = run.begin(false);
    PruneRun.Measurement measurement = measurement(clock);
    try (TensorReader reader = new TensorReader(storage)) {
      PruneRun.Measured before = run.dense(measurement);
      List<BlockStatistics> dense = new ArrayList<>();
      List<LayerProfile> profiles = run.profilesWithoutOutliers();
      if (options.needsDensePass()) {
        clock.begin(PruneRun.CALIBRATE, model.blocks().size());
        profiles.clear();
        densePass(run, reader, dense, profiles);
      }
      profiles = WeightEvidence.add(run, reader, profiles);
      SparsityAllocation allocation = run.allocate(profiles);
      List<ShardReceipt> receipts = new ArrayList<>();
      List<List<PrunedLinear>> linears = new ArrayList<>();
      output.clear();
      clock.begin(PruneRun.PRUNE, model.blocks().size());
      if (options.prunesOnTheWay()) {
        passWithGrams(run, reader, allocation, output, receipts, linears);
      } else if (options.needsSequentialPass()) {
        sequentialPass(run, reader, dense, allocation, output, receipts, linears);
      } else {
        for (BlockLayout layout : model.blocks()) {
          try (DecoderBlock block = DecoderBlock.loadWeights(model.config(), layout, reader)) {
            BlockStatistics statistics =
                options.pruner().needsStatistics()
                    ? dense.get(layout.index())
                    : new BlockStatistics();
            linears.add(
                BlockPruner.prune(
                    block,
                    options.pruner(),
                    statistics,
                    PruneRun.patterns(options, allocation, layout)));
            receipts.add(BlockShard.write(storage, output.blockShard(layout.index()), block));
          }
          clock.step("block " + layout.index());
        }
      }
      clock.begin(PruneRun.COMMIT, 1);
      receipts.add(output.writeOutside());
      output.commit(receipts);
      PruneReport report =
          run.finish(run.report(profiles, allocation, linears), before, measurement, written -> {});
      output.close();
      return report;
    } catch (IOException | RuntimeException | Error e) {
      output.abort(false);
      throw e;
    }
  }

  /** Statistics and outliers of every block of the dense model. */
  private void densePass(
      PruneRun run,
      TensorReader reader,
      List<BlockStatistics> statistics,
      List<LayerProfile> profiles)
      throws IOException {
    ModelLayout model = run.model();
    List<Matrix> hidden = embed(run, reader);
    try (ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          BlockStatistics merged = new BlockStatistics();
          for (Matrix states : hidden) {
            BlockStatistics slice = new BlockStatistics();
            if (run.isLast(layout)) {
              block.observe(states, buffers, slice);
            } else {
              block.advance(states, buffers, slice);
            }
            merged.merge(slice);
          }
          merged.requireFinite(layout.index());
          statistics.add(merged);
          profiles.add(
              run.options().allocator().needsActivations()
                  ? ProfileMeasurement.of(
                      block, merged, run.thresholds(), run.options().allocator().needs())
                  : LayerProfile.ofShapes(layout));
        }
        run.clock().step("block " + layout.index());
      }
    } finally {
      hidden.forEach(Matrix::close);
    }
  }

  /**
   * The published order: observe the dense block on what the pruned ones before it made, prune it,
   * run the sequences through it.
   */
  private void sequentialPass(
      PruneRun run,
      TensorReader reader,
      List<BlockStatistics> dense,
      SparsityAllocation allocation,
      OutputCheckpoint output,
      List<ShardReceipt> receipts,
      List<List<PrunedLinear>> linears)
      throws IOException {
    ModelLayout model = run.model();
    List<Matrix> hidden = embed(run, reader);
    try (ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      for (BlockLayout layout : model.blocks()) {
        int index = layout.index();
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          BlockStatistics merged = new BlockStatistics();
          if (index == 0 && !dense.isEmpty()) {
            // Nothing is pruned before the first block: its inputs are the dense model's.
            merged = dense.get(0);
          } else {
            for (Matrix states : hidden) {
              BlockStatistics slice = new BlockStatistics();
              block.observe(states, buffers, slice);
              merged.merge(slice);
            }
            merged.requireFinite(index);
          }
          linears.add(
              BlockPruner.prune(
                  block,
                  run.options().pruner(),
                  merged,
                  PruneRun.patterns(run.options(), allocation, layout)));
          receipts.add(BlockShard.write(storage, output.blockShard(index), block));
          if (!run.isLast(layout)) {
            advance(block, hidden, buffers);
          }
        }
        run.clock().step("block " + index);
      }
    } finally {
      hidden.forEach(Matrix::close);
    }
  }

  /**
   * Block by block: observe the dense block, prune it with what was seen, and run the sequences
   * through what the propagation says: the pruned block, or the dense one.
   */
  private void passWithGrams(
      PruneRun run,
      TensorReader reader,
      SparsityAllocation allocation,
      OutputCheckpoint output,
      List<ShardReceipt> receipts,
      List<List<PrunedLinear>> linears)
      throws IOException {
    PruneOptions options = run.options();
    ModelLayout model = run.model();
    boolean sequential = options.propagation() == Propagation.SEQUENTIAL;
    List<Matrix> hidden = embed(run, reader);
    try (ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader);
            BlockGrams grams = observe(block, hidden, buffers)) {
          if (!sequential && !run.isLast(layout)) {
            advance(block, hidden, buffers);
          }
          linears.add(
              BlockPruner.prune(
                  block, options.pruner(), grams, PruneRun.patterns(options, allocation, layout)));
          receipts.add(BlockShard.write(storage, output.blockShard(layout.index()), block));
          if (sequential && !run.isLast(layout)) {
            advance(block, hidden, buffers);
          }
        }
        run.clock().step("block " + layout.index());
      }
    } finally {
      hidden.forEach(Matrix::close);
    }
  }

  private static BlockGrams observe(
      DecoderBlock block, List<Matrix> hidden, ForwardBuffers buffers) {
    BlockGrams merged = new BlockGrams();
    try {
      for (int first = 0; first < hidden.size(); first += BlockGrams.GROUP) {
        int last = Math.min(hidden.size(), first + BlockGrams.GROUP);
        try (BlockGrams group = new BlockGrams()) {
          for (Matrix states : hidden.subList(first, last)) {
            block.observe(states, buffers, group);
          }
          merged.merge(group);
        }
      }
      return merged;
    } catch (RuntimeException | Error e) {
      merged.close();
      throw e;
    }
  }

  private static void advance(DecoderBlock block, List<Matrix> hidden, ForwardBuffers buffers) {
    for (Matrix states : hidden) {
      block.advance(states, buffers, ActivationObserver.NONE);
    }
  }

  private static List<Matrix> embed(PruneRun run, TensorReader reader) throws IOException {
    Samples samples = run.calibration();
    return samples.embed(run.model(), 0, samples.count(), reader);
  }

  private PruneRun.Measurement measurement(StageClock clock) {
    return new PruneRun.Measurement() {
      @Override
      public Quality quality(String location, Samples samples) throws IOException {
        return evaluate(location, samples, clock);
      }

      @Override
      public List<double[]> logProbabilities(String location, TaskSuite suite) throws IOException {
        return LocalPipeline.this.logProbabilities(location, suite, clock);
      }
    };
  }

  /** The perplexity of any checkpoint of a language model. */
  public Perplexity evaluate(String location, TokenSequences windows) throws IOException {
    return (Perplexity) evaluate(location, windows, new StageClock(progress));
  }

  /** The accuracy of any checkpoint of an image classifier. */
  public Accuracy evaluate(String location, ImageSamples images) throws IOException {
    return (Accuracy) evaluate(location, images, new StageClock(progress));
  }

  /**
   * Runs the items of tasks through any checkpoint of a language model.
   *
   * @return for every batch of the suite the log-probabilities of its predictions
   */
  public List<double[]> logProbabilities(String location, TaskSuite suite) throws IOException {
    return logProbabilities(location, suite, new StageClock(progress));
  }

  private List<double[]> logProbabilities(String location, TaskSuite suite, StageClock clock)
      throws IOException {
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, location)).computedIn(compute);
    clock.begin(PruneRun.TASKS, model.blocks().size());
    try (TensorReader reader = new TensorReader(storage)) {
      return TaskEvaluator.logProbabilities(
          model, suite.sequences(), reader, block -> clock.step("block " + block));
    }
  }

  private Quality evaluate(String location, Samples samples, StageClock clock) throws IOException {
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, location)).computedIn(compute);
    PruneRun.requireUsable(samples, model, "evaluation");
    clock.begin(PruneRun.EVALUATE, model.blocks().size());
    try (TensorReader reader = new TensorReader(storage)) {
      return samples instanceof TokenSequences windows
          ? PerplexityEvaluator.evaluate(
              model, windows, reader, block -> clock.step("block " + block))
          : AccuracyEvaluator.evaluate(model, (ImageSamples) samples, reader);
    }
  }
}
