package ai.owl.pipeline;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.calibration.ImageSamples;
import ai.owl.calibration.PackedSequences;
import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.AccuracyEvaluator;
import ai.owl.evaluation.Quality;
import ai.owl.model.BlockLayout;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.SparsityPattern;
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotResults;
import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * What the two pipelines share of one run: everything that happens on the driver and touches no
 * weight. Planning checks all that can be checked before work begins.
 */
public final class PruneRun {
  public static final String CALIBRATE = "calibrate";
  public static final String PROFILE = "profile";
  public static final String ALLOCATE = "allocate";
  public static final String PROPAGATE = "propagate";
  public static final String PRUNE = "prune";
  public static final String COMMIT = "commit";
  public static final String EVALUATE = "evaluate";
  public static final String TASKS = "tasks";

  /** All stages a run can have, in order. */
  public static final List<String> STAGES =
      List.of(CALIBRATE, PROFILE, ALLOCATE, PROPAGATE, PRUNE, COMMIT, EVALUATE, TASKS);

  /** Outliers are counted at the thresholds of the paper's grid too; one scan serves all. */
  private static final List<Double> USUAL_THRESHOLDS = List.of(3.0, 5.0, 7.0, 10.0);

  private final Storage storage;
  private final PruneOptions options;
  private final Checkpoint checkpoint;
  private final ModelLayout model;
  private final String inputDigest;
  private final Optional<? extends Samples> calibration;
  private final Optional<MeasuredSamples> measured;
  private final Optional<? extends Samples> evaluation;
  private final Optional<TaskSuite> tasks;
  private final StageClock clock;
  // There are none before the output is claimed.
  private Optional<OutputCheckpoint> output = Optional.empty();
  private boolean foundWhole;

  private PruneRun(
      Storage storage,
      PruneOptions options,
      Checkpoint checkpoint,
      Optional<? extends Samples> calibration,
      Optional<MeasuredSamples> measured,
      Optional<? extends Samples> evaluation,
      Optional<TaskSuite> tasks,
      StageClock clock)
      throws IOException {
    this.storage = storage;
    this.options = options;
    this.checkpoint = checkpoint;
    this.model = ModelLayout.of(checkpoint).computedIn(options.compute());
    this.inputDigest = checkpoint.digest();
    this.calibration = calibration;
    this.measured =
        calibration.isPresent()
            ? Optional.of(MeasuredSamples.of(calibration.get(), model))
            : measured;
    this.evaluation = evaluation;
    this.tasks = tasks;
    this.clock = clock;
  }

  /**
   * Opens the input and checks that run and input fit together.
   *
   * @param measured the tokens that all the run needs to know was measured on before, if so: then
   *     it needs none
   * @param evaluation what the model is measured on before and after, if anything
   * @param tasks that it is tried at before and after, if any
   */
  public static PruneRun plan(
      Storage storage,
      PruneOptions options,
      Optional<? extends Samples> calibration,
      Optional<MeasuredSamples> measured,
      Optional<? extends Samples> evaluation,
      Optional<TaskSuite> tasks,
      Progress progress)
      throws IOException {
    Checkpoint checkpoint = Checkpoint.open(storage, options.model());
    PruneRun run =
        new PruneRun(
            storage,
            options,
            checkpoint,
            calibration,
            measured,
            evaluation,
            tasks,
            new StageClock(progress));
    if (options.needsCalibration() && !(calibration.isEmpty() && measured.isPresent())) {
      if (calibration.isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot prune with metric "
                + options.pruner().name()
                + " and allocation "
                + options.allocator().name()
                + " without calibration data: give --calibration");
      }
      requireUsable(calibration.get(), run.model, "calibration");
      lengthWarning(calibration.get(), run.model).ifPresent(run.clock::warn);
    }
    evaluation.ifPresent(windows -> requireUsable(windows, run.model, "evaluation"));
    run.requireFitting(options.pattern());
    options.allocator().risk(options.sparsity()).ifPresent(run.clock::warn);
    return run;
  }

  /**
   * Refuses samples that the model cannot read: images or text in place of each other, tokens and
   * positions that it has no embedding for, windows in which nothing is predicted, images whose
   * labels nobody knows.
   */
  public static void requireUsable(Samples samples, ModelLayout model, String role) {
    boolean evaluation = role.equals("evaluation");
    if (samples instanceof ImageSamples images) {
      if (!model.config().readsImages()) {
        throw new IllegalArgumentException(
            "Cannot use images for "
                + role
                + ": "
                + model.config().architecture().className()
                + " reads token ids; give it text");
      }
      if (evaluation) {
        AccuracyEvaluator.requireLabels(images);
      }
      return;
    }
    if (samples instanceof PackedSequences) {
      throw new IllegalArgumentException(
          "Cannot use packed sequences for " + role + ": they are made for scoring tasks");
    }
    TokenSequences tokens = (TokenSequences) samples;
    int longest = tokens.sequences().stream().mapToInt(ids -> ids.length).max().orElse(0);
    model.config().requirePositions(longest, "use a shorter --length");
    tokens.requireVocabulary(model.config().vocabSize(), "the " + role + " tokens");
    for (int[] window : tokens.sequences()) {
      if (evaluation && window.length < 2) {
        throw new IllegalArgumentException(
            "Cannot evaluate on windows of "
                + window.length
                + " token: a prediction needs two; use a longer --length");
      }
    }
  }

  /** A word on sequences that are longer than what the model was trained for. */
  public static Optional<String> lengthWarning(Samples samples, ModelLayout model) {
    if (!(samples instanceof TokenSequences tokens)) {
      return Optional.empty(); // images are brought to the size the model was made for
    }
    int longest = tokens.sequences().stream().mapToInt(ids -> ids.length).max().orElse(0);
    int positions = model.config().maxPositions();
    return longest <= positions
        ? Optional.empty()
        : Optional.of(
            String.format(
                "sequences of %d tokens are longer than the %d positions the model was made for:"
                    + " consider --length %d",
                longest, positions, positions));
  }

  public PruneOptions options() {
    return options;
  }

  public ModelLayout model() {
    return model;
  }

  public Samples calibration() {
    return calibration.orElseThrow();
  }

  /** The samples that activations are measured on, or were. */
  public Optional<MeasuredSamples> measured() {
    return measured;
  }

  /** Names the input checkpoint: {@link Checkpoint#digest}. */
  public String inputDigest() {
    return inputDigest;
  }

  public StageClock clock() {
    return clock;
  }

  public boolean isLast(BlockLayout block) {
    return block.index() == model.blocks().size() - 1;
  }

  /** The thresholds M to count outliers at. */
  public SortedSet<Double> thresholds() {
    SortedSet<Double> thresholds = new TreeSet<>(USUAL_THRESHOLDS);
    options.allocator().outlierThreshold().ifPresent(thresholds::add);
    return thresholds;
  }

  /** What is known of the blocks before anything is measured: their sizes. */
  public List<LayerProfile> profilesWithoutOutliers() {
    List<LayerProfile> profiles = new ArrayList<>();
    for (BlockLayout block : model.blocks()) {
      profiles.add(LayerProfile.ofShapes(block));
    }
    return profiles;
  }

  /**
   * Claims the output location; see {@link OutputCheckpoint#begin}.
   *
   * @param goesOn whether the run goes on where an earlier one with the same fingerprint ended
   */
  public OutputCheckpoint begin(boolean goesOn) throws IOException {
    OutputCheckpoint claimed =
        OutputCheckpoint.begin(
            storage,
            options,
            checkpoint,
            model,
            fingerprint(),
            goesOn,
            RunLock.Timing.USUAL,
            clock.progress());
    output = Optional.of(claimed);
    foundWhole = claimed.isCommitted();
    if (foundWhole) {
      clock.say(
          options.output()
              + " is what this run would write: it is not made again (--overwrite would)");
    } else if (goesOn && claimed.run().isWorthKeeping()) {
      clock.say(
          "going on with a run that was broken off: "
              + (claimed.finishedBlocks().size() + claimed.finishedOutside().stream().count())
              + " of "
              + (model.blocks().size() + 1)
              + " shards are written");
    }
    return claimed;
  }

  /** The global decision. */
  public SparsityAllocation allocate(List<LayerProfile> profiles) {
    clock.begin(ALLOCATE, 1);
    SparsityAllocation allocation = allocate(options, profiles);
    allocation.warnings().forEach(clock::warn);
    return allocation;
  }

  /** The allocation that some options ask for, in the units of their pattern. */
  public static SparsityAllocation allocate(PruneOptions options, List<LayerProfile> profiles) {
    SparsityAllocation allocation = options.allocator().allocate(profiles, options.sparsity());
    return options.pattern() instanceof SparsityPattern.NofM nm
        ? allocation.inUnitsOf(nm.of(), options.rounding())
        : allocation;
  }

  /** What each linear layer of a block is to be pruned to, in the layout's order. */
  public static List<SparsityPattern> patterns(
      PruneOptions options, SparsityAllocation allocation, BlockLayout block) {
    List<SparsityPattern> patterns = new ArrayList<>();
    for (int i = 0; i < block.linears().size(); i++) {
      patterns.add(options.pattern().at(allocation.sparsity(block.index(), i)));
    }
    return patterns;
  }

  /** Groups of M columns must fill every row. */
  private void requireFitting(SparsityPattern pattern) {
    if (pattern instanceof SparsityPattern.NofM nm) {
      for (LinearLayer linear : model.blocks().get(0).linears()) {
        if (linear.inFeatures() % nm.of() != 0) {
          throw new IllegalArgumentException(
              "Cannot prune "
                  + linear.name()
                  + " to --pattern "
                  + nm.label()
                  + ": its "
                  + linear.inFeatures()
                  + " columns are no multiple of "
                  + nm.of());
        }
      }
    }
  }

  /** The report of a run whose checkpoint is written. */
  public PruneReport report(
      List<LayerProfile> profiles,
      SparsityAllocation allocation,
      List<List<PrunedLinear>> linears) {
    Optional<MeasuredSamples> used = measured.filter(tokens -> options.needsCalibration());
    return PruneReport.of(
        options,
        fingerprint(),
        model,
        used.map(MeasuredSamples::sequences).orElse(0),
        used.map(MeasuredSamples::tokens).orElse(0L),
        profiles,
        allocation,
        linears);
  }

  /** Measures checkpoints. */
  public interface Measurement {
    /** How good a checkpoint is at what it was made for. */
    Quality quality(String location, Samples samples) throws IOException;

    /** For every batch of a suite the log-probabilities of its predictions. */
    List<double[]> logProbabilities(String location, TaskSuite tasks) throws IOException;
  }

  /** What was measured of a checkpoint: what was asked for and can be measured. */
  public record Measured(Optional<Quality> quality, Optional<ZeroShotResults> tasks) {
    static final Measured NOTHING = new Measured(Optional.empty(), Optional.empty());
  }

  /** How good the input is, if anyone wants to know, before hours are spent on pruning it. */
  public Measured dense(Measurement measurement) throws IOException {
    evaluation.flatMap(samples -> lengthWarning(samples, model)).ifPresent(clock::warn);
    tasks.ifPresent(suite -> suite.warnings().forEach(clock::warn));
    return new Measured(
        quality(measurement, "dense", options.model()),
        tasks(measurement, "dense", options.model()));
  }

  private Optional<Quality> quality(Measurement measurement, String which, String location)
      throws IOException {
    if (evaluation.isEmpty()) {
      return Optional.empty();
    }
    Samples samples = evaluation.get();
    return Optional.of(
        kept(
            which + "\n" + measure() + "\n" + samples.digest(),
            Quality.class,
            () -> {
              clock.say(measure() + " of the " + which + " model");
              Quality quality = measurement.quality(location, samples);
              claimed().requireOurs(); // else it may be of shards of two runs
              return quality;
            }));
  }

  private Optional<ZeroShotResults> tasks(Measurement measurement, String which, String location)
      throws IOException {
    if (tasks.isEmpty()) {
      return Optional.empty();
    }
    TaskSuite suite = tasks.get();
    return Optional.of(
        kept(
            which + "\ntasks\n" + suite.digest(),
            ZeroShotResults.class,
            () -> {
              clock.say("tasks of the " + which + " model");
              ZeroShotResults found = suite.results(measurement.logProbabilities(location, suite));
              claimed().requireOurs();
              return found;
            }));
  }

  /** Of the same checkpoint and samples, the same comes out of the same arithmetic. */
  private <T extends Serializable> T kept(String name, Class<T> type, KeptResults.Work<T> work)
      throws IOException {
    return claimed().run().results().get(digest(name + "\n" + options.compute()), type, work);
  }

  private OutputCheckpoint claimed() {
    return output.orElseThrow();
  }

  /** Measures something of the pruned model, which may be beyond measuring. */
  @FunctionalInterface
  private interface Attempt<T> {
    Optional<T> measure() throws IOException;
  }

  private <T> Optional<T> attempt(List<String> warnings, Attempt<T> attempt) throws IOException {
    try {
      return attempt.measure();
    } catch (MalformedCheckpointException beyondMeasure) {
      clock.warn(beyondMeasure.getMessage());
      warnings.add(beyondMeasure.getMessage());
      return Optional.empty();
    }
  }

  /** Writes what else is made of a report, while nobody else may write to the output. */
  @FunctionalInterface
  public interface ReportWriter {
    /** Writes, besides the {@code report.json} that is there by then. */
    void write(PruneReport report) throws IOException;
  }

  /**
   * Leaves the report beside the checkpoint, and again with what was measured if they were asked
   * for: a run that is stopped while it measures has its report too. A pruned model that is beyond
   * measuring is a result, and reported. Where the checkpoint was found whole and nothing more is
   * asked of it, the report that is there stays.
   *
   * @throws IOException if another run has taken the output over
   */
  public PruneReport finish(
      PruneReport report, Measured dense, Measurement measurement, ReportWriter writer)
      throws IOException {
    boolean measures = evaluation.isPresent() || tasks.isPresent();
    List<String> warnings = new ArrayList<>(report.warnings());
    Measured pruned = Measured.NOTHING;
    claimed().requireOurs();
    if (measures) {
      claimed().run().begin();
      write(report.with(dense, pruned, clock.seconds(), warnings));
      pruned =
          new Measured(
              attempt(warnings, () -> quality(measurement, "pruned", options.output())),
              attempt(warnings, () -> tasks(measurement, "pruned", options.output())));
    }
    PruneReport whole = report.with(dense, pruned, clock.seconds(), warnings);
    if (measures || !foundWhole || !claimed().run().isFinished()) {
      write(whole);
      writer.write(whole);
      claimed().run().finish();
    }
    return whole;
  }

  private String measure() {
    return evaluation.orElseThrow() instanceof ImageSamples ? "accuracy" : "perplexity";
  }

  private void write(PruneReport report) throws IOException {
    storage.writeAll(
        OutputCheckpoint.workFolder(options.output()) + "/report.json",
        (report.toJson().toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Identifies what the output is made from: the input, the options but for the locations, and the
   * tokens.
   */
  public String fingerprint() {
    String identity =
        String.join(
            "\n",
            inputDigest,
            options.pattern().toString(),
            options.pruner().toString(),
            options.allocator().toString(),
            options.pattern() instanceof SparsityPattern.NofM ? options.rounding().toString() : "",
            options.pruner().needsStatistics() ? options.propagation().label() : "",
            options.needsCalibration() ? measured.orElseThrow().digest() : "",
            options.needsCalibration() ? options.compute().toString() : "");
    return digest(identity);
  }

  private static String digest(String identity) {
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256").digest(identity.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest, 0, 16);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
