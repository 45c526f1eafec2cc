package ai.owl.pipeline;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.evaluation.Accuracy;
import ai.owl.evaluation.Perplexity;
import ai.owl.evaluation.Quality;
import ai.owl.model.ModelLayout;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.zeroshot.ZeroShotResults;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * What a run did.
 *
 * @param fingerprint identifies input, options and tokens
 * @param architecture the model's class
 * @param sequences number of calibration sequences, 0 if none were needed
 * @param tokens calibration tokens
 * @param blocks in order
 * @param dense perplexity before, or the accuracy of a model of images, if asked for
 * @param pruned the same after
 * @param seconds by stage
 * @param warnings what the user should know
 * @param denseTasks how well the model does at zero-shot tasks before, if asked for
 * @param prunedTasks the same after
 */
public record PruneReport(
    PruneOptions options,
    String fingerprint,
    String architecture,
    int sequences,
    long tokens,
    List<Block> blocks,
    Optional<Quality> dense,
    Optional<Quality> pruned,
    Map<String, Double> seconds,
    List<String> warnings,
    Optional<ZeroShotResults> denseTasks,
    Optional<ZeroShotResults> prunedTasks) {
  /** One of a run that tried no tasks. */
  public PruneReport(
      PruneOptions options,
      String fingerprint,
      String architecture,
      int sequences,
      long tokens,
      List<Block> blocks,
      Optional<Quality> dense,
      Optional<Quality> pruned,
      Map<String, Double> seconds,
      List<String> warnings) {
    this(
        options,
        fingerprint,
        architecture,
        sequences,
        tokens,
        blocks,
        dense,
        pruned,
        seconds,
        warnings,
        Optional.empty(),
        Optional.empty());
  }

  /** A pruned model whose perplexity is more than so many times the dense one's is of no use. */
  public static final double EXPLODED = 10;

  /** How far the sparsity reached may be from the one asked for without a word. */
  public static final double MISSED = 1e-3;

  /**
   * What became of one block.
   *
   * @param profile its outlier counts, without any if the allocation did not need them; without
   *     histograms and spectra, which nobody reads again
   * @param sparsity the share of its weights that was to go
   */
  public record Block(LayerProfile profile, double sparsity, List<PrunedLinear> linears)
      implements Serializable {
    public Block {
      profile = profile.withoutDistributions();
    }

    public long weights() {
      return linears.stream().mapToLong(PrunedLinear::weights).sum();
    }

    public long zeros() {
      return linears.stream().mapToLong(PrunedLinear::zeros).sum();
    }

    public double reached() {
      return (double) zeros() / weights();
    }
  }

  static PruneReport of(
      PruneOptions options,
      String fingerprint,
      ModelLayout model,
      int sequences,
      long tokens,
      List<LayerProfile> profiles,
      SparsityAllocation allocation,
      List<List<PrunedLinear>> linears) {
    List<Block> blocks = new ArrayList<>();
    List<String> warnings = new ArrayList<>(allocation.warnings());
    for (int i = 0; i < linears.size(); i++) {
      blocks.add(new Block(profiles.get(i), allocation.sparsity(i), linears.get(i)));
      linears.get(i).forEach(linear -> warnings.addAll(linear.notes()));
    }
    return new PruneReport(
        options,
        fingerprint,
        model.config().architecture().className(),
        sequences,
        tokens,
        List.copyOf(blocks),
        Optional.empty(),
        Optional.empty(),
        Map.of(),
        warnings);
  }

  PruneReport with(
      PruneRun.Measured before,
      PruneRun.Measured after,
      Map<String, Double> times,
      List<String> notes) {
    return new PruneReport(
        options,
        fingerprint,
        architecture,
        sequences,
        tokens,
        blocks,
        before.quality(),
        after.quality(),
        times,
        List.copyOf(notes),
        before.tasks(),
        after.tasks());
  }

  public long weights() {
    return blocks.stream().mapToLong(Block::weights).sum();
  }

  public long zeros() {
    return blocks.stream().mapToLong(Block::zeros).sum();
  }

  /** The share of all prunable weights that is zero now. */
  public double reached() {
    return (double) zeros() / weights();
  }

  /**
   * The block's outlier ratio in percent, at the threshold the allocation used; empty if it used
   * none.
   */
  public Optional<Double> outlierRatio(Block block) {
    return options
        .allocator()
        .outlierThreshold()
        .filter(threshold -> block.profile().outliers().containsKey(threshold))
        .map(threshold -> block.profile().outlierRatio(threshold));
  }

  /**
   * What the user should know: what the numbers say, and then the warnings of the run.
   *
   * @return sentences without a capital and without a full stop
   */
  public List<String> findings() {
    List<String> findings = new ArrayList<>();
    if (pruned.isPresent() && pruned.get() instanceof Perplexity) {
      double before = dense.map(Quality::value).orElse(Double.NaN);
      double after = pruned.get().value();
      if (!Double.isFinite(after)) {
        findings.add("the pruned perplexity is not a finite number");
      } else if (after > EXPLODED * before) {
        findings.add(
            String.format(
                Locale.ROOT,
                "perplexity exploded from %.4g to %.4g: such a model is of no use; try a lower"
                    + " sparsity, another metric or another allocation",
                before,
                after));
      }
    }
    if (Math.abs(reached() - options.sparsity()) > MISSED) {
      findings.add(
          String.format(
              Locale.ROOT,
              "%.2f %% was asked for, %.2f %% was reached",
              100 * options.sparsity(),
              100 * reached()));
    }
    findings.addAll(warnings);
    return findings;
  }

  /**
   * All of it as JSON. Ratios are fractions, but outlier ratios are percentages, as in the paper.
   */
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("fingerprint", fingerprint);
    json.set(
        "options", options.toJson().put("model", options.model()).put("output", options.output()));
    json.put("architecture", architecture);
    json.putObject("calibration").put("sequences", sequences).put("tokens", tokens);
    if (dense.isPresent() || pruned.isPresent()) {
      Quality any = dense.or(() -> pruned).orElseThrow();
      ObjectNode quality = json.putObject(any.name());
      dense.ifPresent(value -> quality.put("dense", value.value()));
      pruned.ifPresent(value -> quality.put("pruned", value.value()));
      if (any instanceof Perplexity perplexity) {
        quality.put("windows", perplexity.windows());
      } else {
        quality.put("images", ((Accuracy) any).images());
      }
    }
    if (denseTasks.isPresent() || prunedTasks.isPresent()) {
      ObjectNode zeroShot = json.putObject("zeroShot");
      denseTasks.ifPresent(results -> zeroShot.set("dense", results.toJson()));
      prunedTasks.ifPresent(results -> zeroShot.set("pruned", results.toJson()));
    }
    json.putObject("sparsity").put("target", options.sparsity()).put("reached", reached());
    json.putObject("weights").put("total", weights()).put("removed", zeros());
    ArrayNode entries = json.putArray("blocks");
    for (Block block : blocks) {
      ObjectNode entry = entries.addObject();
      entry.put("index", block.profile().block());
      outlierRatio(block)
          .ifPresentOrElse(
              ratio -> entry.put("outlierRatio", ratio), () -> entry.putNull("outlierRatio"));
      ObjectNode ratios = entry.putObject("outlierRatios");
      block
          .profile()
          .outliers()
          .keySet()
          .forEach(m -> ratios.put(m.toString(), block.profile().outlierRatio(m)));
      entry.put("sparsity", block.sparsity());
      entry.put("reached", block.reached());
      entry.put("weights", block.weights());
      entry.put("removed", block.zeros());
      ArrayNode linears = entry.putArray("linears");
      for (PrunedLinear linear : block.linears()) {
        linears
            .addObject()
            .put("name", linear.name())
            .put("weights", linear.weights())
            .put("sparsity", linear.sparsity())
            .put("removed", linear.zeros())
            .put("reached", (double) linear.zeros() / linear.weights());
      }
    }
    ObjectNode times = json.putObject("seconds");
    seconds.forEach(times::put);
    ArrayNode notes = json.putArray("warnings");
    findings().forEach(notes::add);
    return json;
  }
}
