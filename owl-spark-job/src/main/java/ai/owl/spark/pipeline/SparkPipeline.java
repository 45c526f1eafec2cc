package ai.owl.spark.pipeline;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ImageSamples;
import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.Accuracy;
import ai.owl.evaluation.Perplexity;
import ai.owl.evaluation.Quality;
import ai.owl.kernel.Compute;
import ai.owl.model.BlockLayout;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.FinishedShard;
import ai.owl.pipeline.MeasuredSamples;
import ai.owl.pipeline.OutputCheckpoint;
import ai.owl.pipeline.OutputShard;
import ai.owl.pipeline.PassRecord;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.PruneRun;
import ai.owl.pipeline.RunFolder;
import ai.owl.pipeline.StageClock;
import ai.owl.pipeline.SweepOptions;
import ai.owl.pipeline.SweepReport;
import ai.owl.pipeline.SweepRun;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.Pruner;
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotResults;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
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
  /** Hidden states are kept every so many blocks, unless somebody says otherwise. */
  public static final int CHECKPOINT_INTERVAL = 8;

  private static final int TASKS_PER_SLOT = 4; // so that a slow task leaves little to wait for

  private final JavaSparkContext spark;
  private final Storage storage;
  private final Progress progress;
  private final int partitions;
  private final Optional<String> statistics;
  private final boolean keepsGrams;
  private final Optional<TaskSuite> tasks;
  private final Compute compute;
  private final int checkpointInterval;

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
    this(
        spark,
        storage,
        progress,
        partitions,
        Optional.empty(),
        false,
        Optional.empty(),
        Compute.FLOAT32,
        CHECKPOINT_INTERVAL);
  }

  private SparkPipeline(
      JavaSparkContext spark,
      Storage storage,
      Progress progress,
      int partitions,
      Optional<String> statistics,
      boolean keepsGrams,
      Optional<TaskSuite> tasks,
      Compute compute,
      int checkpointInterval) {
    OwlKryoRegistrator.requireUsable(spark.getConf());
    this.spark = spark;
    this.storage = storage;
    this.progress = progress;
    this.partitions = partitions;
    this.statistics = statistics;
    this.keepsGrams = keepsGrams;
    this.tasks = tasks;
    this.compute = compute;
    this.checkpointInterval = checkpointInterval;
  }

  /**
   * This pipeline with products in something else where no {@link PruneOptions} or {@link
   * SweepOptions} say it.
   */
  public SparkPipeline withCompute(Compute value) {
    return new SparkPipeline(
        spark,
        storage,
        progress,
        partitions,
        statistics,
        keepsGrams,
        tasks,
        value,
        checkpointInterval);
  }

  /**
   * This pipeline with a place where what it measures of the dense model is kept, and looked for
   * before it is measured.
   *
   * @param location of a {@link StatisticsStore}, which may be empty
   * @param grams whether Gram matrices of the dense model are to be kept too, where a pruner works
   *     with them: 4 bytes · Σ in_features² over the inputs of all blocks (LLaMA-7B: 22 GB)
   */
  public SparkPipeline withStatistics(String location, boolean grams) {
    return new SparkPipeline(
        spark,
        storage,
        progress,
        partitions,
        Optional.of(location),
        grams,
        tasks,
        compute,
        checkpointInterval);
  }

  /** This pipeline with tasks that models are tried at before and after they are pruned. */
  public SparkPipeline withTasks(TaskSuite suite) {
    return new SparkPipeline(
        spark,
        storage,
        progress,
        partitions,
        statistics,
        keepsGrams,
        Optional.of(suite),
        compute,
        checkpointInterval);
  }

  /**
   * This pipeline with hidden states kept beside the output of {@link #prune} every so many blocks
   * (by default every 8), so that a run that is broken off does not begin its passes again. What is
   * kept takes {@code 4 · tokens · hidden} bytes, twice while it is exchanged.
   *
   * @param blocks 0 if they are never to be kept
   */
  public SparkPipeline withCheckpointInterval(int blocks) {
    if (blocks < 0) {
      throw new IllegalArgumentException(
          "Cannot use --checkpoint-interval " + blocks + ": it is a number of blocks, or 0");
    }
    return new SparkPipeline(
        spark, storage, progress, partitions, statistics, keepsGrams, tasks, compute, blocks);
  }

  /**
   * Prunes a checkpoint. A run that was broken off is gone on with: what an earlier one with the
   * same input, options and tokens has left in the output is not done again.
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
    return prune(options, calibration, evaluation, report -> {});
  }

  /**
   * Prunes a checkpoint, and leaves other reports beside it while no other run may write there.
   *
   * @param reports not asked if the checkpoint was found whole, with its report, and nothing is
   *     measured
   */
  public PruneReport prune(
      PruneOptions options,
      Optional<? extends Samples> calibration,
      Optional<? extends Samples> evaluation,
      PruneRun.ReportWriter reports)
      throws IOException {
    if (options.compute() != compute) {
      return withCompute(options.compute()).prune(options, calibration, evaluation, reports);
    }
    if (statistics.isPresent()) {
      OutputCheckpoint.requireSpared(
          storage, options.output(), "the folder of --statistics", statistics.get());
    }
    Optional<StatisticsStore> store = store();
    PruneRun run =
        PruneRun.plan(
            storage,
            options,
            calibration,
            store.filter(kept -> suffices(kept, options)).flatMap(StatisticsStore::tokens),
            evaluation,
            tasks,
            progress);
    store.ifPresent(kept -> kept.requireOf(run.inputDigest(), run.measured()));
    OutputCheckpoint output = run.begin(true);
    PruneRun.Measurement measurement = measurement(run.clock());
    try (Passes passes = passes(run.model(), run.clock())) {
      PruneRun.Measured before = run.dense(measurement);
      DenseModel measured =
          output
              .run()
              .results()
              .get(
                  RunFolder.DENSE_MODEL,
                  DenseModel.class,
                  () ->
                      measure(
                          passes,
                          store,
                          run.model(),
                          run.inputDigest(),
                          options.model(),
                          calibration,
                          needsNorms(options),
                          run.thresholds(),
                          options.allocator().needs(),
                          output.run().pass("dense", checkpointInterval)));
      SparsityAllocation allocation = run.allocate(measured.profiles());
      Map<Integer, FinishedShard> blocks = new TreeMap<>(output.finishedBlocks());
      if (!output.isCommitted()) {
        List<ShardTask> tasks = new ArrayList<>();
        if (output.finishedBlocks().size() < run.model().blocks().size()) {
          tasks.addAll(shards(passes, run, output, calibration, measured.norms(), allocation));
        }
        if (output.finishedOutside().isEmpty()) {
          tasks.add(
              new ShardTask.Copy(
                  ShardTask.NO_BLOCK, run.model().outside(), output.outsideShard(), List.of()));
        }
        List<ShardReceipt> receipts = new ArrayList<>();
        blocks.values().forEach(shard -> receipts.add(shard.receipt()));
        output.finishedOutside().ifPresent(shard -> receipts.add(shard.receipt()));
        output.clear();
        List<ShardTask.Done> written = passes.flat(describe(options, tasks), tasks);
        for (int i = 0; i < tasks.size(); i++) {
          FinishedShard shard = written.get(i).shard().get(0);
          receipts.add(shard.receipt());
          if (tasks.get(i).block() != ShardTask.NO_BLOCK) {
            blocks.put(tasks.get(i).block(), shard);
          }
        }
        run.clock().begin(PruneRun.COMMIT, 1);
        output.commit(receipts);
      }
      List<List<PrunedLinear>> linears =
          blocks.values().stream().map(FinishedShard::linears).toList();
      PruneReport report =
          run.finish(
              run.report(measured.profiles(), allocation, linears), before, measurement, reports);
      output.close();
      return report;
    } catch (Throwable e) {
      if (output.abort(mayGoOn(e)) && !output.isCommitted()) {
        progress.say(
            "what is done is kept in "
                + options.output()
                + ": the same command goes on from there");
      }
      throw causeOf(e);
    }
  }

  /** What is left to do for the blocks whose shards no earlier run has written. */
  private List<ShardTask> shards(
      Passes passes,
      PruneRun run,
      OutputCheckpoint output,
      Optional<? extends Samples> calibration,
      List<BlockStatistics> dense,
      SparsityAllocation allocation)
      throws IOException {
    PruneOptions options = run.options();
    List<ShardTask> tasks = new ArrayList<>();
    PassRecord record = output.run().pass("pruned", checkpointInterval);
    if (options.prunesOnTheWay()) {
      Passes.Solved solved =
          solve(
              passes,
              run.model(),
              run.inputDigest(),
              calibration,
              options,
              allocation,
              output::part,
              record);
      for (BlockLayout block : solved.blocks()) {
        tasks.add(
            new ShardTask.Copy(
                block.index(),
                block.tensors(),
                output.blockShard(block.index()),
                solved.linears().get(block.index())));
      }
    } else {
      List<BlockStatistics> statistics =
          options.needsSequentialPass()
              ? passes.sequential(run.calibration(), options, dense, allocation, record)
              : dense;
      for (PrunedBlock block : passes.plan(options, statistics, allocation)) {
        tasks.add(new ShardTask.Prune(block, output.blockShard(block.layout().index())));
      }
    }
    Set<Integer> finished = output.finishedBlocks().keySet();
    tasks.removeIf(task -> finished.contains(task.block()));
    return tasks;
  }

  /**
   * Whether the same run could come further if it were tried again: what it was given does not
   * change.
   */
  private static boolean mayGoOn(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof MalformedCheckpointException
          || cause instanceof IllegalArgumentException) {
        return false;
      }
    }
    return true;
  }

  /**
   * What is known of the dense model.
   *
   * @param norms by block; none if nobody asked for them
   */
  private record DenseModel(List<BlockStatistics> norms, List<LayerProfile> profiles)
      implements Serializable {
    DenseModel {
      norms = List.copyOf(norms); // lists that Spark gives are Scala's inside, and not read again
      profiles = List.copyOf(profiles);
    }
  }

  private Optional<StatisticsStore> store() throws IOException {
    return statistics.isPresent()
        ? Optional.of(StatisticsStore.open(storage, statistics.get()))
        : Optional.empty();
  }

  /**
   * Prunes by Gram matrices: by kept ones of the dense model, if there are any and they are what is
   * asked for; else by those of a pass, which are kept if they are to be.
   */
  private Passes.Solved solve(
      Passes passes,
      ModelLayout model,
      String digest,
      Optional<? extends Samples> calibration,
      PruneOptions options,
      SparsityAllocation allocation,
      Function<LinearLayer, OutputShard> place,
      PassRecord record)
      throws IOException {
    Optional<StatisticsStore> store =
        options.propagation() == Propagation.DENSE ? store() : Optional.empty();
    if (store.isPresent() && store.get().hasGrams()) {
      int sequences = store.get().tokens().orElseThrow().sequences();
      return passes.solveKept(sequences, options, allocation, place, store.get()::grams);
    }
    if (store.isEmpty() || !keepsGrams) {
      return passes.solve(
          calibration.orElseThrow(), options, allocation, place, block -> List.of(), record);
    }
    Passes.Solved solved =
        passes.solve(
            calibration.orElseThrow(), options, allocation, place, store.get()::grams, record);
    store
        .get()
        .addGrams(
            digest,
            options.model(),
            MeasuredSamples.of(calibration.orElseThrow(), model),
            model.blocks().stream().map(LayerProfile::ofShapes).toList());
    return solved;
  }

  /** Whether the pruner itself works with the norms of the dense model. */
  private static boolean needsNorms(PruneOptions options) {
    return options.pruner().needs() == Pruner.Evidence.NORMS
        && options.propagation() == Propagation.DENSE;
  }

  /** Whether nothing has to be measured on calibration tokens any more. */
  private static boolean suffices(StatisticsStore store, PruneOptions options) {
    SortedSet<Double> thresholds = new TreeSet<>();
    options.allocator().outlierThreshold().ifPresent(thresholds::add);
    boolean measured =
        !store.norms().isEmpty()
            || !needsNorms(options)
                && store.lacks(options.allocator().needs(), thresholds).stream()
                    .noneMatch(Evidence::isOfActivations);
    boolean solvable =
        !options.prunesOnTheWay() || options.propagation() == Propagation.DENSE && store.hasGrams();
    return measured && !options.needsSequentialPass() && solvable;
  }

  /**
   * Measures of the dense model what is asked for and not known yet, and keeps it where statistics
   * are kept.
   */
  private DenseModel measure(
      Passes passes,
      Optional<StatisticsStore> store,
      ModelLayout layout,
      String digest,
      String model,
      Optional<? extends Samples> calibration,
      boolean needsNorms,
      SortedSet<Double> thresholds,
      Set<Evidence> asked,
      PassRecord record)
      throws IOException {
    Set<Evidence> wanted = EnumSet.noneOf(Evidence.class);
    wanted.addAll(asked);
    SortedSet<Double> counted = new TreeSet<>(thresholds);
    if (store.isPresent()) {
      Set<Evidence> missing = store.get().lacks(asked, thresholds);
      if (!store.get().isEmpty()
          && missing.isEmpty()
          && !(needsNorms && store.get().norms().isEmpty())) {
        progress.say("what is needed of the dense model is known from " + statistics.orElseThrow());
        return new DenseModel(store.get().norms(), store.get().profiles());
      }
      wanted.clear();
      wanted.addAll(missing);
      counted.addAll(StatisticsStore.THRESHOLDS);
    }
    boolean activations = needsNorms || wanted.stream().anyMatch(Evidence::isOfActivations);
    List<BlockStatistics> known = store.map(StatisticsStore::norms).orElse(List.of());
    boolean pass = activations && known.isEmpty();
    List<BlockStatistics> norms = pass ? passes.dense(calibration.orElseThrow(), record) : known;
    if (store.isPresent() && activations) {
      // One scan more or less: whoever asks next is likely to ask for these.
      wanted.addAll(EnumSet.complementOf(EnumSet.of(Evidence.SPECTRA)));
    }
    List<LayerProfile> profiles = passes.profile(norms, counted, wanted);
    if (store.isEmpty()) {
      return new DenseModel(norms, profiles);
    }
    StatisticsStore whole =
        store
            .get()
            .add(
                digest,
                model,
                pass
                    ? Optional.of(MeasuredSamples.of(calibration.orElseThrow(), layout))
                    : Optional.empty(),
                pass ? norms : List.of(),
                profiles);
    return new DenseModel(whole.norms(), whole.profiles());
  }

  /**
   * Measures a dense model and keeps what it finds at {@link #withStatistics}; what is known there
   * already is not measured again.
   *
   * @param spectra whether the linear layers' singular values are wanted too, which takes long
   */
  public StatisticsStore calibrate(String model, Samples calibration, boolean spectra)
      throws IOException {
    Checkpoint checkpoint = Checkpoint.open(storage, model);
    ModelLayout layout = ModelLayout.of(checkpoint).computedIn(compute);
    PruneRun.requireUsable(calibration, layout, "calibration");
    PruneRun.lengthWarning(calibration, layout).ifPresent(progress::warn);
    StatisticsStore store = store().orElseThrow();
    String digest = checkpoint.digest();
    store.requireOf(digest, Optional.of(MeasuredSamples.of(calibration, layout)));
    Set<Evidence> asked = EnumSet.allOf(Evidence.class);
    if (!spectra) {
      asked.remove(Evidence.SPECTRA);
    }
    try (Passes passes = passes(layout, new StageClock(progress))) {
      measure(
          passes,
          Optional.of(store),
          layout,
          digest,
          model,
          Optional.of(calibration),
          true,
          new TreeSet<>(StatisticsStore.THRESHOLDS),
          asked,
          PassRecord.none(storage));
      return store().orElseThrow();
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  private static String describe(PruneOptions options, List<ShardTask> tasks) {
    long blocks = tasks.stream().filter(task -> task.block() != ShardTask.NO_BLOCK).count();
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
      ModelLayout model = layout(location);
      PruneRun.requireUsable(calibration, model, "calibration");
      PruneRun.lengthWarning(calibration, model).ifPresent(progress::warn);
      try (Passes passes = passes(model, new StageClock(progress))) {
        return passes.profile(
            passes.dense(calibration, PassRecord.none(storage)), thresholds, asked);
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
      ModelLayout model = layout(location);
      PruneRun.requireUsable(sequences, model, "evaluation");
      PruneRun.lengthWarning(sequences, model).ifPresent(progress::warn);
      try (Passes passes = passes(model, new StageClock(progress))) {
        return passes.losses(sequences);
      }
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  /** The perplexity of any checkpoint of a language model. */
  public Perplexity evaluate(String location, TokenSequences windows) throws IOException {
    return (Perplexity) evaluate(location, (Samples) windows);
  }

  /** The accuracy of any checkpoint of an image classifier. */
  public Accuracy evaluate(String location, ImageSamples images) throws IOException {
    return (Accuracy) evaluate(location, (Samples) images);
  }

  /** How good any checkpoint is: the perplexity of texts, the accuracy on images. */
  public Quality evaluate(String location, Samples samples) throws IOException {
    try {
      PruneRun.lengthWarning(samples, layout(location)).ifPresent(progress::warn);
      return evaluate(location, samples, new StageClock(progress));
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  private ModelLayout layout(String location) throws IOException {
    return ModelLayout.of(Checkpoint.open(storage, location)).computedIn(compute);
  }

  private PruneRun.Measurement measurement(StageClock clock) {
    return new PruneRun.Measurement() {
      @Override
      public Quality quality(String location, Samples samples) throws IOException {
        return evaluate(location, samples, clock);
      }

      @Override
      public List<double[]> logProbabilities(String location, TaskSuite suite) throws IOException {
        return SparkPipeline.this.logProbabilities(location, suite, clock);
      }
    };
  }

  private Quality evaluate(String location, Samples samples, StageClock clock) throws IOException {
    ModelLayout model = layout(location);
    PruneRun.requireUsable(samples, model, "evaluation");
    try (Passes passes = passes(model, clock)) {
      return passes.evaluate(passes.itself(), samples);
    }
  }

  /**
   * Runs the items of tasks through any checkpoint of a language model.
   *
   * @return for every batch of the suite the log-probabilities of its predictions
   */
  public List<double[]> logProbabilities(String location, TaskSuite suite) throws IOException {
    try {
      suite.warnings().forEach(progress::warn);
      return logProbabilities(location, suite, new StageClock(progress));
    } catch (Throwable e) {
      throw causeOf(e);
    }
  }

  private List<double[]> logProbabilities(String location, TaskSuite suite, StageClock clock)
      throws IOException {
    ModelLayout model = layout(location);
    try (Passes passes = passes(model, clock)) {
      return passes.logProbabilities(passes.itself(), suite.sequences());
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
    if (options.compute() != compute) {
      return withCompute(options.compute()).sweep(options, calibration, windows);
    }
    Optional<StatisticsStore> store = store();
    SweepRun run = SweepRun.plan(storage, options, calibration, windows, tasks, progress);
    Optional<MeasuredSamples> measured = Optional.of(MeasuredSamples.of(calibration, run.model()));
    store.ifPresent(kept -> kept.requireOf(run.inputDigest(), measured));
    try (Passes passes = passes(run.model(), run.clock())) {
      Perplexity dense = run.dense(() -> (Perplexity) passes.evaluate(passes.itself(), windows));
      List<ZeroShotResults> denseTasks = run.denseTasks(() -> results(passes, passes.itself()));
      DenseModel known =
          measure(
              passes,
              store,
              run.model(),
              run.inputDigest(),
              options.model(),
              Optional.of(calibration),
              run.open().stream().anyMatch(SparkPipeline::needsNorms),
              run.thresholds(),
              run.evidence(),
              PassRecord.none(storage));
      List<LayerProfile> profiles = known.profiles();
      for (PruneOptions way : run.open()) {
        Optional<SparsityAllocation> allocation = run.allocate(way, profiles);
        if (allocation.isEmpty()) {
          continue;
        }
        try {
          measure(
              run, passes, way, calibration, windows, known.norms(), profiles, allocation.get());
        } catch (MalformedCheckpointException beyondMeasure) {
          run.leaveOut(way, beyondMeasure);
        }
      }
      return run.finish(dense, denseTasks);
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
        Passes.Solved solved =
            solve(
                passes,
                run.model(),
                run.inputDigest(),
                Optional.of(calibration),
                way,
                allocation,
                parts::place,
                PassRecord.none(storage));
        Perplexity pruned = (Perplexity) passes.evaluate(passes.with(solved), windows);
        run.add(
            way,
            profiles,
            allocation,
            solved.linears(),
            pruned,
            results(passes, passes.with(solved)));
      }
      return;
    }
    List<BlockStatistics> seen =
        way.needsSequentialPass()
            ? passes.sequential(calibration, way, dense, allocation, PassRecord.none(storage))
            : dense;
    List<PrunedBlock> plan = passes.plan(way, seen, allocation);
    List<ShardTask> counts = new ArrayList<>();
    plan.forEach(block -> counts.add(new ShardTask.Count(block)));
    List<List<PrunedLinear>> linears = new ArrayList<>();
    passes
        .flat("count what " + way.pruner().name() + " removes", counts)
        .forEach(done -> linears.add(done.linears()));
    run.add(
        way,
        profiles,
        allocation,
        linears,
        (Perplexity) passes.evaluate(passes.with(plan), windows),
        results(passes, passes.with(plan)));
  }

  /** How well a model does at the tasks; none if there are no tasks. */
  private List<ZeroShotResults> results(Passes passes, Passes.Model model) {
    return tasks.stream()
        .map(suite -> suite.results(passes.logProbabilities(model, suite.sequences())))
        .toList();
  }

  private Passes passes(ModelLayout model, StageClock clock) {
    return new Passes(spark, storage, model, clock, progress, partitions);
  }

  /** What went wrong, out of the wrapping that a failed job puts around it. */
  private IOException causeOf(Throwable failure) throws IOException {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof MalformedCheckpointException malformed) {
        throw malformed;
      }
      if (cause instanceof IllegalArgumentException refused) {
        throw refused;
      }
      if (cause instanceof UncheckedIOException io) {
        requireSeenByAll(io.getCause());
        throw io.getCause();
      }
      if (cause instanceof IOException io) {
        requireSeenByAll(io);
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

  /** A file that executors miss and the driver has is of this machine only. */
  private void requireSeenByAll(IOException failure) throws IOException {
    if (!(failure instanceof FileNotFoundException) || spark.isLocal()) {
      return;
    }
    String location = failure.getMessage().replaceFirst(": it does not exist$", "");
    if (storage.exists(location)) {
      throw new IllegalArgumentException(
          "Cannot read "
              + location
              + " on the executors' machines: it exists on the driver's alone; on a cluster give an"
              + " absolute path that every machine sees, or a URI such as hdfs:// or s3a://",
          failure);
    }
  }
}
