package ai.owl.pipeline;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.evaluation.Perplexity;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.zeroshot.TaskSuite;
import ai.owl.zeroshot.ZeroShotResults;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.Supplier;

/**
 * The driver's side of a sweep: which rows are known, which are open, and where they are kept. A
 * row lies under a name made from all it depends on, so a sweep finds what an earlier one with the
 * same model and tokens left, and nothing else.
 */
public final class SweepRun {
  private static final String RESULT = "sweep.json";
  private static final int MAX_ROW = 64 << 20;

  private final Storage storage;
  private final SweepOptions options;
  private final ModelLayout model;
  private final TokenSequences calibration;
  private final String inputDigest;
  private final String identity;
  private final StageClock clock;
  private final Map<PruneOptions, Optional<SweepReport.Row>> rows = new LinkedHashMap<>();
  private final List<String> warnings = new ArrayList<>();

  private SweepRun(
      Storage storage,
      SweepOptions options,
      ModelLayout model,
      TokenSequences calibration,
      String inputDigest,
      String identity,
      StageClock clock) {
    this.storage = storage;
    this.options = options;
    this.model = model;
    this.calibration = calibration;
    this.inputDigest = inputDigest;
    this.identity = identity;
    this.clock = clock;
  }

  /** Opens the model, checks that all fits together, and reads the rows that are there. */
  public static SweepRun plan(
      Storage storage,
      SweepOptions options,
      TokenSequences calibration,
      TokenSequences windows,
      Optional<TaskSuite> tasks,
      Progress progress)
      throws IOException {
    Checkpoint checkpoint = Checkpoint.open(storage, options.model());
    ModelLayout model = ModelLayout.of(checkpoint).computedIn(options.compute());
    PruneRun.requireUsable(calibration, model, "calibration");
    PruneRun.requireUsable(windows, model, "evaluation");
    String inputDigest = checkpoint.digest();
    String identity = String.join("\n", inputDigest, calibration.digest(), windows.digest());
    identity += tasks.map(suite -> "\n" + suite.digest()).orElse("");
    SweepRun run =
        new SweepRun(
            storage, options, model, calibration, inputDigest, identity, new StageClock(progress));
    for (PruneOptions way : options.ways()) {
      run.rows.put(way, run.kept().read(run.name(way), SweepReport.Row.class));
    }
    run.requireOwnFolder();
    tasks.ifPresent(suite -> suite.warnings().forEach(run::warn));
    long known = run.rows.values().stream().filter(Optional::isPresent).count();
    if (known > 0) {
      run.clock.say(known + " of " + run.rows.size() + " rows are known from an earlier sweep");
    }
    return run;
  }

  /** A folder of sweeps is about one model and one set of tokens: others would read like it. */
  private void requireOwnFolder() throws IOException {
    String location = Storage.resolve(options.output(), RESULT);
    if (!storage.exists(location)) {
      return;
    }
    String earlier;
    try {
      earlier =
          new JsonMapper()
              .readTree(storage.readAll(location, MAX_ROW))
              .path("fingerprint")
              .asText("");
    } catch (JsonProcessingException notOurs) {
      earlier = "";
    }
    if (!earlier.equals(fingerprint(""))) {
      throw new IllegalArgumentException(
          "Cannot write to "
              + options.output()
              + ": it holds a sweep of another model or with other tokens; give another --output");
    }
  }

  public ModelLayout model() {
    return model;
  }

  /** Names the input checkpoint: {@link Checkpoint#digest}. */
  public String inputDigest() {
    return inputDigest;
  }

  public StageClock clock() {
    return clock;
  }

  /** The ways that no earlier sweep has measured. */
  public List<PruneOptions> open() {
    return rows.entrySet().stream()
        .filter(row -> row.getValue().isEmpty())
        .map(Map.Entry::getKey)
        .toList();
  }

  /** Whether any open way looks at the dense model's activations. */
  public boolean needsDensePass() {
    return open().stream().anyMatch(PruneOptions::needsDensePass);
  }

  /** All that open ways' allocators want to know of the dense model. */
  public Set<Evidence> evidence() {
    Set<Evidence> evidence = EnumSet.noneOf(Evidence.class);
    open().forEach(way -> evidence.addAll(way.allocator().needs()));
    return evidence;
  }

  /** All thresholds M that open ways use. */
  public SortedSet<Double> thresholds() {
    SortedSet<Double> thresholds = new TreeSet<>();
    for (PruneOptions way : open()) {
      way.allocator().outlierThreshold().ifPresent(thresholds::add);
    }
    return thresholds;
  }

  /** The dense perplexity, known or measured now. */
  public Perplexity dense(Supplier<Perplexity> measure) throws IOException {
    return kept().get(fingerprint("dense"), Perplexity.class, measure::get);
  }

  /**
   * How well the dense model does at tasks, known or measured now.
   *
   * @param measure gives one, or none if there are no tasks
   */
  public List<ZeroShotResults> denseTasks(Supplier<List<ZeroShotResults>> measure)
      throws IOException {
    Optional<ZeroShotResults> known =
        kept().read(fingerprint("dense tasks"), ZeroShotResults.class);
    if (known.isPresent()) {
      return List.of(known.get());
    }
    List<ZeroShotResults> measured = measure.get();
    for (ZeroShotResults results : measured) {
      kept().write(fingerprint("dense tasks"), results);
    }
    return measured;
  }

  /** An allocation, or a warning that this way does not exist and no row. */
  public Optional<SparsityAllocation> allocate(PruneOptions way, List<LayerProfile> profiles) {
    try {
      return Optional.of(PruneRun.allocate(way, profiles));
    } catch (IllegalArgumentException impossible) {
      warn("left out: " + impossible.getMessage());
      rows.remove(way);
      return Optional.empty();
    }
  }

  private void warn(String warning) {
    warnings.add(warning);
    clock.warn(warning);
  }

  /** A way whose result is beyond measuring: told, and left out. */
  public void leaveOut(PruneOptions way, MalformedCheckpointException why) {
    warn(
        "left out: "
            + way.pruner().label()
            + " "
            + way.allocator().label()
            + " at "
            + way.sparsity()
            + ": "
            + why.getMessage());
    rows.remove(way);
  }

  /** Where pruned weights lie while a way is measured; gone when it is closed. */
  public final class Parts implements AutoCloseable {
    private final String folder;
    private final String mark;

    private Parts(PruneOptions way) throws IOException {
      folder = Storage.resolve(options.output(), "_owl/parts/" + fingerprint(way.toString()));
      mark = Storage.resolve(folder, "started");
      storage.writeAll(mark, new byte[0]);
    }

    /** The place of a linear layer's weights. */
    public OutputShard place(LinearLayer linear) {
      return new OutputShard(Storage.resolve(folder, linear.name() + ".safetensors"), mark);
    }

    @Override
    public void close() throws IOException {
      storage.delete(mark); // first: from here on nothing is published any more
      storage.delete(folder);
    }
  }

  /** Room for the weights that a way leaves on its way. */
  public Parts parts(PruneOptions way) throws IOException {
    return new Parts(way);
  }

  /** Keeps a row. */
  public void add(
      PruneOptions way,
      List<LayerProfile> profiles,
      SparsityAllocation allocation,
      List<List<PrunedLinear>> linears,
      Perplexity pruned,
      List<ZeroShotResults> tasks)
      throws IOException {
    List<PruneReport.Block> blocks = new ArrayList<>();
    for (int i = 0; i < linears.size(); i++) {
      blocks.add(new PruneReport.Block(profiles.get(i), allocation.sparsity(i), linears.get(i)));
    }
    SweepReport.Row row = new SweepReport.Row(way, blocks, pruned, tasks);
    kept().write(name(way), row);
    rows.put(way, Optional.of(row));
    clock.say(
        String.format(
            Locale.ROOT, "%s at %s: perplexity %.4f", row.label(), way.sparsity(), pruned.value()));
  }

  /** The report, which is also left in the output folder. */
  public SweepReport finish(Perplexity dense, List<ZeroShotResults> denseTasks) throws IOException {
    SweepReport report =
        new SweepReport(
            options.model(),
            model.config().architecture().className(),
            calibration.count(),
            calibration.tokens(),
            dense,
            rows.values().stream().flatMap(Optional::stream).toList(),
            clock.seconds(),
            warnings,
            denseTasks);
    storage.writeAll(
        Storage.resolve(options.output(), RESULT),
        (report.toJson().put("fingerprint", fingerprint("")).toPrettyString() + "\n")
            .getBytes(StandardCharsets.UTF_8));
    return report;
  }

  private KeptResults kept() {
    return new KeptResults(
        storage, Storage.resolve(options.output(), "_owl/rows"), clock.progress());
  }

  /** What a row is kept as: it depends on all of its way but the place it was written to. */
  private String name(PruneOptions way) {
    return fingerprint(way.withOutput("-").toString());
  }

  /** Identifies the model, the tokens, and something made from them. */
  private String fingerprint(String key) {
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256")
              .digest((identity + "\n" + key).getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest, 0, 16);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
