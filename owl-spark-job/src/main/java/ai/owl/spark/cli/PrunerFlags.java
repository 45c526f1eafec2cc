package ai.owl.spark.cli;

import ai.owl.allocation.Rounding;
import ai.owl.pruning.ComparisonGroup;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.PruningMetric;
import ai.owl.pruning.Ria;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.pruning.Wanda;
import ai.owl.pruning.WandaVariant;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The flags that say how weights are chosen, the same for every command that prunes. */
final class PrunerFlags {
  /** What weights can be chosen by. */
  enum Metric {
    WANDA,
    SPARSEGPT,
    MAGNITUDE,
    RIA;

    @Override
    public String toString() {
      return name().toLowerCase(java.util.Locale.ROOT);
    }
  }

  @Option(
      names = "--comparison-group",
      paramLabel = "NAME",
      description =
          "Which weights compete: those of a row, or those of a matrix. Default: each metric's own"
              + " (wanda row, magnitude and ria matrix). Not for sparsegpt.")
  private Optional<ComparisonGroup> group = Optional.empty();

  @Option(
      names = "--use-variant",
      description =
          "wanda: rows of different sparsity, by a common share of the rows' scores (the published"
              + " code's --use_variant).")
  private boolean useVariant;

  @Option(
      names = "--dampening",
      paramLabel = "D",
      description =
          "sparsegpt: share of the Hessian's mean diagonal that is added to it. Default: 0.01.")
  private Optional<Double> dampening = Optional.empty();

  @Option(
      names = "--block-columns",
      paramLabel = "B",
      description = "sparsegpt: columns whose weights are compared. Default: 128.")
  private Optional<Integer> blockColumns = Optional.empty();

  @Option(
      names = "--activation-power",
      paramLabel = "A",
      description = "ria: power of the activations' norms. Default: 0.5.")
  private Optional<Double> activationPower = Optional.empty();

  @Option(
      names = "--rounding",
      defaultValue = "mean-preserving",
      paramLabel = "NAME",
      description =
          "How an allocation fits a pattern: mean-preserving, or published (each block by itself)."
              + " Default: ${DEFAULT-VALUE}.")
  private Rounding rounding;

  Rounding rounding() {
    return rounding;
  }

  /** The pruner that the flags ask for; flags that it does not know are refused. */
  Pruner pruner(Metric metric) {
    return pruners(List.of(metric)).get(0);
  }

  /** The pruners that the flags ask for; flags that none of them knows are refused. */
  List<Pruner> pruners(List<Metric> metrics) {
    refuse("--use-variant", useVariant, metrics, Set.of(Metric.WANDA), "wanda");
    refuse("--dampening", dampening.isPresent(), metrics, Set.of(Metric.SPARSEGPT), "sparsegpt");
    refuse(
        "--block-columns",
        blockColumns.isPresent(),
        metrics,
        Set.of(Metric.SPARSEGPT),
        "sparsegpt");
    refuse("--activation-power", activationPower.isPresent(), metrics, Set.of(Metric.RIA), "ria");
    refuse(
        "--comparison-group",
        group.isPresent(),
        metrics,
        useVariant
            ? Set.of(Metric.MAGNITUDE, Metric.RIA)
            : Set.of(Metric.WANDA, Metric.MAGNITUDE, Metric.RIA),
        "wanda without --use-variant, magnitude and ria");
    return metrics.stream().map(this::make).toList();
  }

  private Pruner make(Metric metric) {
    return switch (metric) {
      case WANDA -> useVariant ? new WandaVariant() : compared(new Wanda());
      case MAGNITUDE -> compared(new Magnitude());
      case RIA -> compared(activationPower.map(Ria::new).orElseGet(Ria::new));
      case SPARSEGPT -> {
        SparseGpt published = new SparseGpt();
        yield new SparseGpt(
            dampening.orElse(published.dampening()), blockColumns.orElse(published.blockColumns()));
      }
    };
  }

  private MetricPruner compared(PruningMetric metric) {
    return new MetricPruner(metric, group.orElse(metric.publishedGroup()));
  }

  private static void refuse(
      String flag, boolean given, List<Metric> metrics, Set<Metric> takers, String of) {
    if (given && metrics.stream().noneMatch(takers::contains)) {
      throw new IllegalArgumentException(
          "Cannot use "
              + flag
              + " with --metric "
              + metrics.stream().map(Metric::toString).collect(Collectors.joining(","))
              + ": it belongs to "
              + of);
    }
  }

  /**
   * The pattern and the share of weights to remove.
   *
   * @param sparsity what --sparsity says; an N:M pattern says it by itself
   */
  static SparsityPattern pattern(PatternName name, Optional<Double> sparsity) {
    if (name.kept() == 0) {
      return new SparsityPattern.Unstructured(
          sparsity.orElseThrow(
              () ->
                  new IllegalArgumentException(
                      "Cannot prune without --sparsity: give the share of weights to remove, or a"
                          + " --pattern such as 2:4")));
    }
    SparsityPattern.NofM pattern = new SparsityPattern.NofM(name.kept(), name.of());
    if (sparsity.isPresent() && Math.abs(sparsity.get() - pattern.sparsity()) > 1e-9) {
      throw new IllegalArgumentException(
          "Cannot use --sparsity "
              + sparsity.get()
              + " with --pattern "
              + pattern.label()
              + ": keeping "
              + pattern.kept()
              + " of every "
              + pattern.of()
              + " weights is a sparsity of "
              + pattern.sparsity()
              + "; leave out one of the two");
    }
    return pattern;
  }

  /**
   * What --pattern says.
   *
   * @param kept 0 for unstructured
   */
  record PatternName(int kept, int of) {
    private static final Pattern N_OF_M = Pattern.compile("(\\d{1,4}):(\\d{1,4})");

    @Override
    public String toString() {
      return kept == 0 ? "unstructured" : kept + ":" + of;
    }

    /** Reads it. */
    static final class Converter implements ITypeConverter<PatternName> {
      @Override
      public PatternName convert(String value) {
        if (value.equals("unstructured")) {
          return new PatternName(0, 0);
        }
        Matcher matcher = N_OF_M.matcher(value);
        if (!matcher.matches()) {
          throw new TypeConversionException(
              "expected unstructured or N:M such as 2:4, which keeps 2 of every 4 weights, not '"
                  + value
                  + "'");
        }
        SparsityPattern.NofM checked;
        try {
          checked =
              new SparsityPattern.NofM(
                  Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2)));
        } catch (IllegalArgumentException e) { // which picocli would show with the names of classes
          throw new TypeConversionException(e.getMessage());
        }
        return new PatternName(checked.kept(), checked.of());
      }
    }
  }
}
