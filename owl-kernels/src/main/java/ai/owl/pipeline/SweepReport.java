package ai.owl.pipeline;

import ai.owl.evaluation.Perplexity;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import ai.owl.zeroshot.ZeroShotResults;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a sweep found: one checkpoint, pruned in many ways, and how good each is.
 *
 * @param model location of the checkpoint
 * @param dense perplexity of the unpruned model
 * @param rows in the order of the grid
 * @param seconds by stage
 * @param denseTasks how well the unpruned model does at tasks: one, or none if there were no tasks
 */
public record SweepReport(
    String model,
    String architecture,
    int sequences,
    long tokens,
    Perplexity dense,
    List<Row> rows,
    Map<String, Double> seconds,
    List<String> warnings,
    List<ZeroShotResults> denseTasks) {
  /** One of a sweep that tried no tasks. */
  public SweepReport(
      String model,
      String architecture,
      int sequences,
      long tokens,
      Perplexity dense,
      List<Row> rows,
      Map<String, Double> seconds,
      List<String> warnings) {
    this(model, architecture, sequences, tokens, dense, rows, seconds, warnings, List.of());
  }

  /**
   * One way of pruning. The options name no output: a sweep writes no checkpoints.
   *
   * @param blocks what became of each block
   * @param pruned perplexity after
   * @param tasks how well it does at tasks after: one, or none if there were no tasks
   */
  public record Row(
      PruneOptions options,
      List<PruneReport.Block> blocks,
      Perplexity pruned,
      List<ZeroShotResults> tasks)
      implements Serializable {
    /** One that was tried at no tasks. */
    public Row(PruneOptions options, List<PruneReport.Block> blocks, Perplexity pruned) {
      this(options, blocks, pruned, List.of());
    }

    /** The share of all prunable weights that is zero. */
    public double reached() {
      return (double) blocks.stream().mapToLong(PruneReport.Block::zeros).sum()
          / blocks.stream().mapToLong(PruneReport.Block::weights).sum();
    }

    /** What the row is called in tables, such as {@code wanda owl M=5 λ=0.08}. */
    public String label() {
      Pruner pruner = options.pruner();
      String label = pruner.label() + " " + options.allocator().label();
      if (!(options.pattern() instanceof SparsityPattern.Unstructured)) {
        label += " " + options.pattern().label();
      }
      return pruner.needsStatistics() ? label + " " + options.propagation().label() : label;
    }
  }

  /** The best row at a sparsity, the first of equals. */
  public Optional<Row> best(double sparsity) {
    return rows.stream()
        .filter(row -> row.options().sparsity() == sparsity)
        .min(Comparator.comparingDouble(row -> row.pruned().value()));
  }

  /** All of it as JSON. */
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("model", model);
    json.put("architecture", architecture);
    json.putObject("calibration").put("sequences", sequences).put("tokens", tokens);
    json.putObject("perplexity").put("dense", dense.value()).put("windows", dense.windows());
    for (ZeroShotResults results : denseTasks) {
      json.putObject("zeroShot").set("dense", results.toJson());
    }
    ArrayNode entries = json.putArray("rows");
    for (Row row : rows) {
      ObjectNode entry = row.options().toJson();
      entry.put("reached", row.reached());
      entry.put("perplexity", row.pruned().value());
      row.tasks().forEach(results -> entry.set("zeroShot", results.toJson()));
      ArrayNode sparsities = entry.putArray("sparsities");
      row.blocks().forEach(block -> sparsities.add(block.sparsity()));
      entry.put("best", best(row.options().sparsity()).map(best -> best == row).orElse(false));
      entries.add(entry);
    }
    ObjectNode times = json.putObject("seconds");
    seconds.forEach(times::put);
    ArrayNode notes = json.putArray("warnings");
    warnings.forEach(notes::add);
    return json;
  }
}
