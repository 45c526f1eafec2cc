package ai.owl.spark.ml;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.AlphaPruning;
import ai.owl.allocation.Atp;
import ai.owl.allocation.Dlp;
import ai.owl.allocation.ErdosRenyi;
import ai.owl.allocation.Evidence;
import ai.owl.allocation.Global;
import ai.owl.allocation.Lamp;
import ai.owl.allocation.Owl;
import ai.owl.allocation.OwlBounded;
import ai.owl.allocation.OwlInverse;
import ai.owl.allocation.OwlLinear;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.calibration.WindowSampling;
import ai.owl.pipeline.Propagation;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.Ria;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** What the names that Params hold stand for; the same names as on the command line. */
final class ParamValues {
  /** Those that look at no more than a table with a row a block holds. */
  private static final List<String> BY_BLOCK =
      List.of("owl", "owl-bounded", "owl-inverse", "uniform", "dlp", "atp");

  private static final List<String> BY_CHECKPOINT =
      List.of("owl-linear", "global", "er", "erk", "lamp", "alpha");

  private ParamValues() {}

  static List<String> strategies() {
    return Stream.concat(BY_BLOCK.stream(), BY_CHECKPOINT.stream()).toList();
  }

  /** The allocator over a table of blocks; a strategy that needs more is refused by its name. */
  static SparsityAllocator allocatorByBlock(AllocationParams params) {
    return switch (params.getStrategy()) {
      case "owl" -> new Owl(params.getOutlierThreshold(), params.getLambda());
      case "owl-bounded" -> new OwlBounded(params.getOutlierThreshold(), params.getLambda());
      case "owl-inverse" -> new OwlInverse(params.getOutlierThreshold(), params.getLambda());
      case "uniform" -> new Uniform();
      case "dlp" -> new Dlp(params.getDlpAlpha());
      case "atp" -> {
        if (!params.isDefined(params.atpBeta())) {
          throw new IllegalArgumentException(
              "Cannot allocate by atp without atpBeta: there is no published value; try several in"
                  + " a grid, such as 0.002, 0.004 and 0.008");
        }
        yield new Atp(params.getAtpBeta());
      }
      default ->
          throw new IllegalArgumentException(
              "Cannot allocate by strategy "
                  + params.getStrategy()
                  + " over a table of blocks: it looks at linear layers, their weights or their"
                  + " shapes; use LlmPruner, which has the checkpoint, or one of "
                  + String.join(", ", BY_BLOCK));
    };
  }

  /** The allocator over a checkpoint. */
  static SparsityAllocator allocator(LlmPrunerParams params) {
    return switch (params.getStrategy()) {
      case "owl-linear" -> new OwlLinear(params.getOutlierThreshold(), params.getLambda());
      case "global" ->
          new Global(Evidence.SCORES); // which scores follows from the metric: suitedTo
      case "er", "erk" -> new ErdosRenyi();
      case "lamp" -> new Lamp();
      case "alpha" ->
          new AlphaPruning(
              AlphaFit.valueOf(params.getAlphaFit().toUpperCase(Locale.ROOT)),
              params.getEpsilon(),
              params.getAlphaPerLinear());
      default -> allocatorByBlock(params);
    };
  }

  static Pruner pruner(PrunerParams params) {
    return switch (params.getMetric()) {
      case "wanda" -> new MetricPruner(new Wanda());
      case "magnitude" -> new MetricPruner(new Magnitude());
      case "ria" -> new MetricPruner(new Ria());
      case "sparsegpt" -> new SparseGpt();
      default -> throw new IllegalStateException(params.getMetric()); // the Param has checked it
    };
  }

  static Propagation propagation(PrunerParams params) {
    return Propagation.valueOf(params.getPropagation().toUpperCase(Locale.ROOT));
  }

  static WindowSampling sampling(WindowParams params) {
    return WindowSampling.valueOf(params.getSampling().toUpperCase(Locale.ROOT));
  }

  /** What is separated by commas, as on the command line. */
  static List<String> locations(String list) {
    return List.of(list.split(","));
  }

  /**
   * Where zeros may stand.
   *
   * @param sparsity of an unstructured pattern; an N:M pattern says it by itself
   */
  static SparsityPattern pattern(String name, double sparsity) {
    if (name.equals("unstructured")) {
      return new SparsityPattern.Unstructured(sparsity);
    }
    Matcher matcher = Pattern.compile("(\\d{1,4}):(\\d{1,4})").matcher(name);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "Cannot use pattern '"
              + name
              + "': it is unstructured, or N:M such as 2:4, which keeps 2 of every 4 weights");
    }
    return new SparsityPattern.NofM(
        Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2)));
  }
}
