package ai.owl.spark.report;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.pipeline.PruneOptions;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;

/** A {@link SparsityAllocation} as text for a terminal, and as a list for another run. */
public final class AllocationTable {
  private AllocationTable() {}

  /** The blocks with what the allocation went by, and the means. */
  public static String of(
      PruneOptions options, List<LayerProfile> profiles, SparsityAllocation allocation) {
    StringBuilder text = new StringBuilder();
    Optional<Double> threshold = options.allocator().outlierThreshold();
    boolean linears = options.allocator().perLinear();
    line(
        text,
        "%s at %s, %s",
        options.allocator().label(),
        options.sparsity(),
        options.pattern().label());
    line(
        text,
        "block   outliers %%   sparsity %%%s   weights",
        linears ? "   of its layers %   " : "");
    for (LayerProfile profile : profiles) {
      int block = profile.block();
      line(
          text,
          "%5d   %10s   %10.3f%s   %,d",
          block,
          threshold.map(m -> format("%.4f", profile.outlierRatio(m))).orElse("-"),
          100 * allocation.sparsity(block),
          linears ? "   " + range(profile, allocation) : "",
          profile.weights());
    }
    double plain =
        allocation.sparsities().stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    line(
        text,
        "%nmean %.4f %% of the blocks, %.4f %% of the weights",
        100 * plain,
        100 * allocation.weightedMean());
    allocation.warnings().forEach(warning -> line(text, "note: %s", warning));
    return text.toString();
  }

  private static String range(LayerProfile profile, SparsityAllocation allocation) {
    double[] sparsities =
        IntStream.range(0, profile.linears().size())
            .mapToDouble(linear -> 100 * allocation.sparsity(profile.block(), linear))
            .sorted()
            .toArray();
    return format("%6.2f to %6.2f", sparsities[0], sparsities[sparsities.length - 1]);
  }

  /**
   * The sparsities by block number, or by name where linear layers have sparsities of their own.
   */
  public static ObjectNode json(List<LayerProfile> profiles, SparsityAllocation allocation) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    for (LayerProfile profile : profiles) {
      int block = profile.block();
      if (allocation.linears().get(block).isEmpty()) {
        json.put(Integer.toString(block), allocation.sparsity(block));
      } else {
        for (int i = 0; i < profile.linears().size(); i++) {
          json.put(profile.linears().get(i).name(), allocation.sparsity(block, i));
        }
      }
    }
    return json;
  }

  private static void line(StringBuilder text, String format, Object... values) {
    text.append(format(format, values)).append(System.lineSeparator());
  }

  private static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
