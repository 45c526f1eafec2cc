package ai.owl.spark.report;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.Owl;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.SortedMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What became of the blocks and their linear layers, in two pictures.
 *
 * @param options how they were pruned
 */
record BlockFigures(PruneOptions options, List<PruneReport.Block> blocks) {
  /** A block's layer, such as {@code model.layers.3.mlp.up_proj}, with its name inside. */
  private static final Pattern LINEAR = Pattern.compile(".*?\\.\\d+\\.(.+)", Pattern.DOTALL);

  /**
   * Writes the two sections, if there is any block.
   *
   * @param which names the method in the headings if there are others; else empty
   */
  void write(Markup out, String which) {
    if (blocks.isEmpty()) {
      return;
    }
    String of = which.isEmpty() ? "" : ": " + which;
    Page.section(out, "blocks", "What each block lost" + of, () -> blocks(out));
    if (blocks.stream().anyMatch(block -> !block.linears().isEmpty())) {
      Page.section(out, "linears", "What each linear layer lost" + of, () -> linears(out));
    }
  }

  private void blocks(Markup out) {
    OptionalDouble threshold = threshold();
    List<Double> ratios = new ArrayList<>();
    if (threshold.isPresent()) {
      for (PruneReport.Block block : blocks) {
        ratios.add(block.profile().outlierRatio(threshold.getAsDouble()));
      }
    }
    String text;
    if (ratios.isEmpty()) {
      text =
          "The line is the share of its weights that each block was to lose. Outlier ratios were"
              + " not counted: the allocation "
              + options.allocator().name()
              + " does not look at them.";
    } else {
      text =
          "Bars: the share of a block's weights whose score exceeds M = "
              + Numbers.trimmed(threshold.getAsDouble())
              + " times the block's mean. Line: the share of its weights that the block was to"
              + " lose.";
      if (options.allocator() instanceof Owl) {
        text += " OWL lets blocks with more outliers keep more.";
      }
    }
    Picture.figure(
        out,
        "blocks-figure",
        new BlockChart(
            numbers(),
            ratios,
            threshold.orElse(0),
            blocks.stream().map(PruneReport.Block::sparsity).toList(),
            options.sparsity()),
        text);
    List<List<String>> rows = new ArrayList<>();
    for (int i = 0; i < blocks.size(); i++) {
      PruneReport.Block block = blocks.get(i);
      rows.add(
          List.of(
              Integer.toString(block.profile().block()),
              ratios.isEmpty() ? Numbers.NONE : Numbers.ratio(ratios.get(i)),
              Numbers.points(block.sparsity()),
              Numbers.points(block.reached()),
              Numbers.grouped(block.zeros()),
              Numbers.grouped(block.weights())));
    }
    long zeros = blocks.stream().mapToLong(PruneReport.Block::zeros).sum();
    long weights = blocks.stream().mapToLong(PruneReport.Block::weights).sum();
    rows.add(
        List.of(
            "all",
            Numbers.NONE,
            Numbers.points(options.sparsity()),
            Numbers.points((double) zeros / weights),
            Numbers.grouped(zeros),
            Numbers.grouped(weights)));
    DataTable.of(
            "Outlier ratio and sparsity of each block",
            List.of("block", "outlier ratio, %", "asked, %", "reached, %", "removed", "of"),
            rows)
        .withMarked(List.of(blocks.size()))
        .write(out);
  }

  private void linears(Markup out) {
    Map<String, double[]> reached = new LinkedHashMap<>();
    for (int i = 0; i < blocks.size(); i++) {
      for (PrunedLinear linear : blocks.get(i).linears()) {
        double[] row = reached.computeIfAbsent(inside(linear.name()), name -> row());
        row[i] = (double) linear.zeros() / linear.weights();
      }
    }
    List<String> names = shortNames(List.copyOf(reached.keySet()));
    List<double[]> values = List.copyOf(reached.values());
    if (values.stream().flatMapToDouble(Arrays::stream).anyMatch(Double::isFinite)) {
      Picture.figure(
          out,
          "linears-figure",
          new HeatMap(numbers(), names, values, options.sparsity()),
          "The share of each linear layer's weights that is zero.");
    }
    List<String> columns = new ArrayList<>(List.of("block"));
    columns.addAll(names);
    List<List<String>> rows = new ArrayList<>();
    for (int i = 0; i < blocks.size(); i++) {
      List<String> row = new ArrayList<>();
      row.add(Integer.toString(blocks.get(i).profile().block()));
      for (double[] value : values) {
        row.add(Numbers.points(value[i]));
      }
      rows.add(row);
    }
    DataTable.of("Zeros of each linear layer, %", columns, rows).write(out);
  }

  private double[] row() {
    double[] row = new double[blocks.size()];
    Arrays.fill(row, Double.NaN);
    return row;
  }

  private List<Integer> numbers() {
    return blocks.stream().map(block -> block.profile().block()).toList();
  }

  /** The threshold of the outliers to show: that of OWL, else the least that was counted at. */
  private OptionalDouble threshold() {
    SortedMap<Double, Long> first = blocks.get(0).profile().outliers();
    if (first.isEmpty()) {
      return OptionalDouble.empty();
    }
    double threshold = options.allocator().outlierThreshold().orElse(first.firstKey());
    for (PruneReport.Block block : blocks) {
      LayerProfile profile = block.profile();
      if (!profile.outliers().containsKey(threshold) || profile.weights() == 0) {
        return OptionalDouble.empty();
      }
    }
    return OptionalDouble.of(threshold);
  }

  private static String inside(String linear) {
    Matcher matcher = LINEAR.matcher(linear);
    return matcher.matches() ? matcher.group(1) : linear;
  }

  /** Without what comes before the last dot, if no two names become the same. */
  private static List<String> shortNames(List<String> names) {
    List<String> shorter =
        names.stream().map(name -> name.substring(name.lastIndexOf('.') + 1)).toList();
    boolean distinct = shorter.stream().distinct().count() == names.size();
    return distinct && !shorter.contains("") ? shorter : names;
  }
}
