package ai.owl.spark.pipeline;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.LinearProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.calibration.BlockGrams;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.PackedSequences;
import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorRef;
import ai.owl.evaluation.Accuracy;
import ai.owl.evaluation.Perplexity;
import ai.owl.evaluation.Quality;
import ai.owl.kernel.Spectrum;
import ai.owl.model.BlockLayout;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.OutputShard;
import ai.owl.pipeline.PassRecord;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneRun;
import ai.owl.pipeline.StageClock;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.spark.metrics.WorkCounters;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.UUID;
import java.util.function.Function;
import org.apache.spark.SparkExecutorInfo;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;

/**
 * The jobs that one model is taken through: passes of sequences through its blocks, a job a block,
 * and flat jobs with a task a block.
 */
final class Passes implements AutoCloseable {
  private static final String JOB_GROUP = "spark.jobGroup.id";

  private final JavaSparkContext spark;
  private final ExecutorBlocks.Source source;
  private final ModelLayout model;
  private final List<BlockLayout> blocks;
  private final StageClock clock;
  private final int partitions;
  private final FlatJobProgress jobs;
  private final WorkCounters counters;
  private final boolean groups;

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
    this.counters = WorkCounters.of(spark);
    this.groups = spark.getLocalProperty(JOB_GROUP) == null; // a caller's own stays in force
    if (groups) {
      spark.setLocalProperty(JOB_GROUP, "owl " + source.run());
    }
  }

  /** The statistics of every block of the dense model. */
  List<BlockStatistics> dense(Samples sequences, PassRecord record) {
    clock.begin(PruneRun.CALIBRATE, blocks.size());
    List<BlockStatistics> statistics = record.results(BlockStatistics.class);
    if (statistics.size() == blocks.size()) {
      return statistics;
    }
    int first = entrance(sequences, 1, record, statistics.size());
    clock.skip(first);
    try (HiddenStates hidden = enter(sequences, 1, record, first)) {
      for (BlockLayout block : blocks.subList(first, blocks.size())) {
        int index = block.index();
        List<BlockLayout> next = after(block);
        String description = describe(PruneRun.CALIBRATE, block);
        if (index < statistics.size()) { // what was seen here is known
          hidden.step(description, new Step.Advance(block, false, next));
        } else {
          Step step =
              next.isEmpty() ? new Step.Observe(block) : new Step.Advance(block, true, next);
          BlockStatistics merged = hidden.step(description, step);
          merged.requireFinite(index);
          statistics.add(merged);
          record.add(index, merged);
        }
        keep(hidden, 1, record, index + 1);
        done(block);
      }
    }
    return statistics;
  }

  /**
   * The block that a pass goes on with: the last before which there are hidden states, but none
   * after {@code most}. States that cannot be used are given up; what is known of the blocks before
   * them stays known.
   */
  private int entrance(Samples sequences, int group, PassRecord record, int most) {
    for (int block = record.newest(most); block > 0; block = record.newest(most)) {
      Optional<String> unusable =
          HiddenStates.unusable(
              spark, source, sequences.count(), group, partitions, record.states(block));
      if (unusable.isEmpty()) {
        return block;
      }
      clock.warn(
          unusable.get()
              + " cannot be used: the hidden states before block "
              + block
              + " are computed anew");
      record.drop(block);
    }
    return 0;
  }

  /** The states that enter a block: of the embeddings, or those that an earlier run has kept. */
  private HiddenStates enter(Samples sequences, int group, PassRecord record, int block) {
    return block == 0
        ? HiddenStates.embed(spark, source, model, sequences, group, partitions, counters)
        : HiddenStates.kept(
            spark, source, model, sequences, group, partitions, counters, record.states(block));
  }

  private void keep(HiddenStates hidden, int group, PassRecord record, int block) {
    if (record.isDue(block, blocks.size())) {
      hidden.keep(
          "keep the hidden states before block " + block, record.states(block), group, partitions);
      record.complete(block);
    }
  }

  /**
   * What allocators ask for of the dense model.
   *
   * @param statistics of every block; may be empty if nothing of activations is asked for
   * @param thresholds to count outliers at
   */
  List<LayerProfile> profile(
      List<BlockStatistics> statistics, SortedSet<Double> thresholds, Set<Evidence> asked) {
    List<LayerProfile> profiles = blocks.stream().map(LayerProfile::ofShapes).toList();
    if (asked.stream().anyMatch(evidence -> evidence != Evidence.SPECTRA)) {
      profiles = measureBlocks(statistics, thresholds, asked);
    }
    return asked.contains(Evidence.SPECTRA) ? measureSpectra(profiles) : profiles;
  }

  /** A task a block. */
  private List<LayerProfile> measureBlocks(
      List<BlockStatistics> statistics, SortedSet<Double> thresholds, Set<Evidence> asked) {
    boolean activations = asked.stream().anyMatch(Evidence::isOfActivations);
    List<ProfileTask> tasks = new ArrayList<>();
    for (BlockLayout block : blocks) {
      BlockStatistics seen = activations ? statistics.get(block.index()) : new BlockStatistics();
      tasks.add(new ProfileTask(block, seen, thresholds, asked));
    }
    clock.begin(PruneRun.PROFILE, tasks.size());
    Broadcast<Object> shared = spark.broadcast(source);
    WorkCounters counted = counters; // what a task carries along is no field
    try {
      return jobs.run(
          (activations ? "count outliers of " : "measure magnitudes of ")
              + tasks.size()
              + " blocks",
          tasks.size(),
          () ->
              spark
                  .parallelize(tasks, tasks.size())
                  .map(
                      task ->
                          ProfileTask.carryOut(
                              (ExecutorBlocks.Source) shared.value(), task, counted))
                  .collect());
    } finally {
      shared.destroy();
    }
  }

  /** A task a matrix, since each takes long. */
  private List<LayerProfile> measureSpectra(List<LayerProfile> profiles) {
    List<SpectrumTask> tasks = new ArrayList<>();
    for (BlockLayout block : blocks) {
      block.linears().forEach(linear -> tasks.add(SpectrumTask.of(block, linear)));
    }
    clock.begin(PruneRun.PROFILE, tasks.size());
    Broadcast<Object> shared = spark.broadcast(source);
    try {
      Iterator<Spectrum> spectra =
          jobs.run(
                  "take the spectra of " + tasks.size() + " matrices",
                  tasks.size(),
                  () ->
                      spark
                          .parallelize(tasks, tasks.size())
                          .map(
                              task ->
                                  SpectrumTask.carryOut(
                                      (ExecutorBlocks.Source) shared.value(), task))
                          .collect())
              .iterator();
      List<LayerProfile> measured = new ArrayList<>();
      for (LayerProfile profile : profiles) {
        List<LinearProfile> linears = new ArrayList<>();
        profile.linears().forEach(linear -> linears.add(linear.withSpectrum(spectra.next())));
        measured.add(profile.withLinears(linears));
      }
      return measured;
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
      Samples sequences,
      PruneOptions options,
      List<BlockStatistics> dense,
      SparsityAllocation allocation,
      PassRecord record) {
    clock.begin(PruneRun.PROPAGATE, blocks.size());
    List<BlockStatistics> statistics = record.results(BlockStatistics.class);
    if (statistics.size() == blocks.size()) {
      return statistics;
    }
    int first = entrance(sequences, 1, record, Math.max(0, statistics.size() - 1));
    clock.skip(first);
    try (HiddenStates hidden = enter(sequences, 1, record, first)) {
      // The states wait before a block until it is pruned, which takes what is seen there.
      for (BlockLayout block : blocks.subList(first, blocks.size())) {
        int index = block.index();
        String description = describe(PruneRun.PROPAGATE, block);
        boolean known = index < statistics.size();
        Optional<BlockStatistics> merged = Optional.empty();
        if (index > first) {
          PrunedBlock before =
              plan(options, blocks.get(index - 1), statistics.get(index - 1), allocation);
          merged =
              Optional.of(
                  hidden.step(description, new Step.AdvancePruned(before, !known, List.of(block))));
        } else if (index == 0 && !dense.isEmpty()) {
          merged = Optional.of(dense.get(0));
        } else if (!known) {
          merged = Optional.of(hidden.step(description, new Step.Observe(block)));
        }
        if (!known) {
          merged.orElseThrow().requireFinite(index);
          statistics.add(merged.get());
          record.add(index, merged.get());
        }
        if (index > first) {
          keep(hidden, 1, record, index);
        }
        done(block);
      }
    }
    return statistics;
  }

  /** How every block is to be pruned. */
  List<PrunedBlock> plan(
      PruneOptions options, List<BlockStatistics> statistics, SparsityAllocation allocation) {
    List<PrunedBlock> plan = new ArrayList<>();
    for (BlockLayout block : blocks) {
      BlockStatistics seen =
          options.pruner().needsStatistics()
              ? statistics.get(block.index())
              : new BlockStatistics();
      plan.add(plan(options, block, seen, allocation));
    }
    return plan;
  }

  private static PrunedBlock plan(
      PruneOptions options,
      BlockLayout block,
      BlockStatistics statistics,
      SparsityAllocation allocation) {
    return new PrunedBlock(
        block, options.pruner(), statistics, PruneRun.patterns(options, allocation, block));
  }

  /**
   * What was made of a model whose blocks were pruned one after the other.
   *
   * @param blocks with weights where they were written to
   * @param linears by block
   */
  record Solved(List<BlockLayout> blocks, List<List<PrunedLinear>> linears) {}

  /**
   * Prunes block after block by the Gram matrices of what reaches it: behind pruned blocks, or
   * behind dense ones, as the propagation says.
   *
   * @param place where the weights of a linear layer are written to
   * @param grams where the Gram matrices of a block's linear layers are to be kept; none if not. A
   *     block that is known but whose matrices were not kept there is pruned again.
   * @param record of what is left for a run that goes on with this one
   */
  Solved solve(
      Samples sequences,
      PruneOptions options,
      SparsityAllocation allocation,
      Function<LinearLayer, OutputShard> place,
      Function<BlockLayout, List<String>> grams,
      PassRecord record) {
    clock.begin(PruneRun.PROPAGATE, blocks.size());
    List<BlockLayout> solved = new ArrayList<>();
    List<List<PrunedLinear>> linears = new ArrayList<>();
    for (SolvedBlock known : record.results(SolvedBlock.class)) {
      BlockLayout block = blocks.get(solved.size());
      List<TensorRef> weights = written(block, place);
      if (weights.size() < block.linears().size() || !areKept(known, grams.apply(block))) {
        break;
      }
      solved.add(block.withWeights(weights));
      linears.add(known.linears());
    }
    if (solved.size() == blocks.size()) {
      return new Solved(solved, linears);
    }
    int first = entrance(sequences, BlockGrams.GROUP, record, solved.size());
    clock.skip(first);
    try (HiddenStates hidden = enter(sequences, BlockGrams.GROUP, record, first)) {
      for (BlockLayout block : blocks.subList(first, blocks.size())) {
        if (block.index() == solved.size()) {
          SolveTask task = task(block, options, allocation, place, sequences.count(), grams);
          List<SolveTask.Solved> done = hidden.solve(describe("solve", block), task);
          solved.add(block.withWeights(done.stream().map(SolveTask.Solved::weights).toList()));
          linears.add(done.stream().map(SolveTask.Solved::linear).toList());
          record.add(
              block.index(), new SolvedBlock(linears.get(block.index()), grams.apply(block)));
        }
        if (!after(block).isEmpty()) {
          BlockLayout through =
              options.propagation() == Propagation.SEQUENTIAL ? solved.get(block.index()) : block;
          hidden.step(
              describe(PruneRun.PROPAGATE, block), new Step.Advance(through, false, after(block)));
          keep(hidden, BlockGrams.GROUP, record, block.index() + 1);
        }
        done(block);
      }
    }
    return new Solved(solved, linears);
  }

  /**
   * What is kept of a block that is solved; its weights lie where they were written to.
   *
   * @param grams where its Gram matrices were kept; none if they were not
   */
  private record SolvedBlock(List<PrunedLinear> linears, List<String> grams)
      implements Serializable {
    boolean keeps(List<String> asked) {
      return asked.isEmpty() || asked.equals(grams);
    }
  }

  /** Whether the Gram matrices of a known block lie where they are to be kept. */
  private boolean areKept(SolvedBlock known, List<String> grams) {
    try {
      for (String location : grams) {
        if (!source.storage().exists(location)) {
          return false;
        }
      }
      return known.keeps(grams);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Where the solved weights of a block's linear layers stand, of as many as are there. */
  private List<TensorRef> written(BlockLayout block, Function<LinearLayer, OutputShard> place) {
    List<TensorRef> weights = new ArrayList<>();
    try {
      for (LinearLayer linear : block.linears()) {
        OutputShard part = place.apply(linear);
        try {
          part.written(source.storage(), linear).ifPresent(weights::add);
        } catch (FileNotFoundException | EOFException | MalformedCheckpointException damaged) {
          clock.warn(part.location() + " cannot be used: its block is pruned anew");
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return weights;
  }

  /**
   * Prunes all blocks by kept Gram matrices of the dense model: one flat job, a task for the layers
   * that read the same input.
   *
   * @param sequences number of calibration sequences that they are the sums over
   */
  Solved solveKept(
      int sequences,
      PruneOptions options,
      SparsityAllocation allocation,
      Function<LinearLayer, OutputShard> place,
      Function<BlockLayout, List<String>> grams) {
    Broadcast<Object> tasks =
        spark.broadcast(
            blocks.stream()
                .map(block -> task(block, options, allocation, place, sequences, grams))
                .toArray(SolveTask[]::new));
    int inputs = blocks.get(0).inputs().size();
    int layers = blocks.get(0).linears().size();
    List<Integer> numbers = new ArrayList<>(); // block · inputs + input
    for (BlockLayout block : blocks) {
      for (int input = inputs - 1; input >= 0; input--) { // the widest first, as in a pass
        numbers.add(block.index() * inputs + input);
      }
    }
    WorkCounters counted = counters;
    clock.begin(PruneRun.PRUNE, numbers.size());
    try {
      List<SolveTask.Solved> done =
          jobs.run(
              "solve the linear layers of " + blocks.size() + " blocks by kept Gram matrices",
              numbers.size(),
              () ->
                  spark
                      .parallelize(numbers, numbers.size())
                      .flatMap(
                          number ->
                              SolveTask.carryOutKept(
                                  ((SolveTask[]) tasks.value())[number / inputs],
                                  counted,
                                  number % inputs))
                      .collect());
      tellOfProducts();
      List<BlockLayout> solved = new ArrayList<>();
      List<List<PrunedLinear>> linears = new ArrayList<>();
      for (BlockLayout block : blocks) {
        List<SolveTask.Solved> own =
            done.subList(block.index() * layers, (block.index() + 1) * layers).stream()
                .sorted(Comparator.comparingInt(SolveTask.Solved::number))
                .toList();
        solved.add(block.withWeights(own.stream().map(SolveTask.Solved::weights).toList()));
        linears.add(own.stream().map(SolveTask.Solved::linear).toList());
      }
      return new Solved(solved, linears);
    } finally {
      tasks.destroy();
    }
  }

  private SolveTask task(
      BlockLayout block,
      PruneOptions options,
      SparsityAllocation allocation,
      Function<LinearLayer, OutputShard> place,
      int sequences,
      Function<BlockLayout, List<String>> grams) {
    return new SolveTask(
        source,
        block,
        options.pruner(),
        PruneRun.patterns(options, allocation, block),
        block.linears().stream().map(place).toList(),
        sequences,
        grams.apply(block));
  }

  /** Carries out tasks that need one block each. */
  List<ShardTask.Done> flat(String description, List<ShardTask> tasks) {
    if (tasks.isEmpty()) {
      return List.of();
    }
    WorkCounters counted = counters;
    clock.begin(PruneRun.PRUNE, tasks.size());
    Broadcast<Object> shared = spark.broadcast(source);
    try {
      return jobs.run(
          description,
          tasks.size(),
          () ->
              spark
                  .parallelize(tasks, tasks.size())
                  .map(
                      task ->
                          ShardTask.carryOut((ExecutorBlocks.Source) shared.value(), task, counted))
                  .collect());
    } finally {
      shared.destroy();
    }
  }

  /** The model as it is. */
  Model itself() {
    return block -> new Step.Advance(block, false, after(block));
  }

  /** The model with its blocks' weights where they were written to. */
  Model with(Solved solved) {
    return block -> {
      int next = block.index() + 1;
      List<BlockLayout> ahead =
          next < blocks.size() ? List.of(solved.blocks().get(next)) : List.of();
      return new Step.Advance(solved.blocks().get(block.index()), false, ahead);
    };
  }

  /** The model as it would be if its blocks were pruned so; nothing is written. */
  Model with(List<PrunedBlock> plan) {
    return block -> new Step.AdvancePruned(plan.get(block.index()), false, after(block));
  }

  /** Says how samples come through each block. */
  @FunctionalInterface
  interface Model {
    Step through(BlockLayout block);
  }

  /** How well a model does on samples: perplexity on texts, accuracy on images. */
  Quality evaluate(Model through, Samples samples) {
    return evaluate(
        PruneRun.EVALUATE,
        through,
        samples,
        hidden -> {
          double[] scores = hidden.scores(PruneRun.EVALUATE + ": head");
          if (samples instanceof TokenSequences windows) {
            return Perplexity.of(scores, windows.tokens());
          }
          return new Accuracy((int) Arrays.stream(scores).sum(), scores.length);
        });
  }

  /** For every batch the log-probabilities of its predictions. */
  List<double[]> logProbabilities(Model through, PackedSequences sequences) {
    return evaluate(
        PruneRun.TASKS,
        through,
        sequences,
        hidden -> hidden.logProbabilities(PruneRun.TASKS + ": head"));
  }

  /** The mean next-token loss of every sequence in the model as it is, in nats. */
  double[] losses(TokenSequences sequences) {
    return evaluate(
        PruneRun.EVALUATE,
        itself(),
        sequences,
        hidden -> hidden.scores(PruneRun.EVALUATE + ": head"));
  }

  private <T> T evaluate(
      String stage, Model through, Samples samples, Function<HiddenStates, T> head) {
    clock.begin(stage, blocks.size());
    try (HiddenStates hidden = enter(samples, 1, PassRecord.none(source.storage()), 0)) {
      for (BlockLayout block : blocks) {
        hidden.step(describe(stage, block), through.through(block));
        done(block);
      }
      return head.apply(hidden);
    }
  }

  /** A pass is through with a block. */
  private void done(BlockLayout block) {
    clock.step(name(block));
    tellOfProducts();
  }

  /** Once for all passes of a run, however many machines join it. */
  private void tellOfProducts() {
    String here = source.config().compute().implementation();
    SortedMap<String, SortedSet<String>> seen = counters.products();
    ProductFindings.of(here, seen)
        .ifPresent(finding -> clock.warnOnce("products " + seen.keySet(), finding));
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

  /**
   * After a failure other tasks may still be at work; a session that is closed under them would
   * complain of their results.
   */
  private void awaitTasks() {
    try {
      for (int i = 0; i < 100; i++) {
        int running = 0;
        for (SparkExecutorInfo executor : spark.sc().statusTracker().getExecutorInfos()) {
          running += executor.numRunningTasks();
        }
        if (running == 0) {
          return;
        }
        Thread.sleep(50);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    awaitTasks();
    jobs.close();
    spark.setLocalProperty("spark.job.description", null);
    if (groups) {
      spark.setLocalProperty(JOB_GROUP, null);
    }
    ExecutorBlocks.clear();
  }
}
