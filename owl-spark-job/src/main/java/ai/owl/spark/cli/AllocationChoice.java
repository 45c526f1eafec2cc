package ai.owl.spark.cli;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.AlphaPruning;
import ai.owl.allocation.Atp;
import ai.owl.allocation.Dlp;
import ai.owl.allocation.ErdosRenyi;
import ai.owl.allocation.Evidence;
import ai.owl.allocation.GivenRatios;
import ai.owl.allocation.Global;
import ai.owl.allocation.Lamp;
import ai.owl.allocation.Owl;
import ai.owl.allocation.OwlBounded;
import ai.owl.allocation.OwlInverse;
import ai.owl.allocation.OwlLinear;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.function.Function;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.TypeConversionException;

/**
 * What {@code --allocation} was given: a name of the catalogue, or {@code ratios:} and where
 * somebody's own list lies. With values of the hyper-parameters it becomes allocators.
 *
 * @param name such as {@code owl-linear}
 * @param list location of a list of ratios; empty for a name of the catalogue
 */
record AllocationChoice(String name, String list) {
  private static final String LIST = "ratios:";

  /** In the order in which help and messages show them. */
  private static final Map<String, Function<Parameters, List<SparsityAllocator>>> CATALOGUE =
      catalogue();

  private static final List<String> OWLS =
      List.of("owl", "owl-bounded", "owl-linear", "owl-inverse");

  /** Flags of hyper-parameters, and the allocations that have them; sorted, as messages are. */
  private static final Map<String, List<String>> TAKERS =
      new TreeMap<>(
          Map.of(
              "--outlier-threshold", OWLS,
              "--lambda", OWLS,
              "--epsilon", List.of("alpha"),
              "--alpha-fit", List.of("alpha"),
              "--alpha-per-linear", List.of("alpha"),
              "--dlp-alpha", List.of("dlp"),
              "--atp-beta", List.of("atp")));

  /**
   * The values of the hyper-parameters: one each for a single run, several to try all of them.
   *
   * @param atpBetas has no published value, and may be empty
   */
  record Parameters(
      List<Double> thresholds,
      List<Double> lambdas,
      List<AlphaFit> alphaFits,
      List<Double> epsilons,
      boolean alphaPerLinear,
      List<Double> dlpAlphas,
      List<Double> atpBetas) {

    private List<SparsityAllocator> byOutliers(BiFunction<Double, Double, SparsityAllocator> rule) {
      List<SparsityAllocator> all = new ArrayList<>();
      for (double threshold : thresholds) {
        for (double lambda : lambdas) {
          all.add(rule.apply(threshold, lambda));
        }
      }
      return all;
    }

    private List<SparsityAllocator> alpha() {
      List<SparsityAllocator> all = new ArrayList<>();
      for (AlphaFit fit : alphaFits) {
        for (double epsilon : epsilons) {
          all.add(new AlphaPruning(fit, epsilon, alphaPerLinear));
        }
      }
      return all;
    }

    private List<SparsityAllocator> atp() {
      if (atpBetas.isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot use --allocation atp without --atp-beta: there is no published value, its"
                + " authors search it for each model; owl sweep tries several, such as --atp-beta"
                + " 0.002,0.004,0.008");
      }
      return atpBetas.stream().<SparsityAllocator>map(Atp::new).toList();
    }
  }

  private static Map<String, Function<Parameters, List<SparsityAllocator>>> catalogue() {
    Map<String, Function<Parameters, List<SparsityAllocator>>> catalogue = new LinkedHashMap<>();
    catalogue.put("owl", values -> values.byOutliers(Owl::new));
    catalogue.put("owl-bounded", values -> values.byOutliers(OwlBounded::new));
    catalogue.put("owl-linear", values -> values.byOutliers(OwlLinear::new));
    catalogue.put("owl-inverse", values -> values.byOutliers(OwlInverse::new));
    catalogue.put("uniform", values -> List.of(new Uniform()));
    // Which scores it compares follows from the pruner: SparsityAllocator.suitedTo.
    catalogue.put("global", values -> List.of(new Global(Evidence.SCORES)));
    catalogue.put("er", values -> List.of(new ErdosRenyi()));
    catalogue.put("erk", values -> List.of(new ErdosRenyi()));
    catalogue.put("lamp", values -> List.of(new Lamp()));
    catalogue.put("alpha", Parameters::alpha);
    catalogue.put(
        "dlp", values -> values.dlpAlphas().stream().<SparsityAllocator>map(Dlp::new).toList());
    catalogue.put("atp", Parameters::atp);
    return catalogue;
  }

  /** What the command line may say, for its help. */
  static final class Names implements Iterable<String> {
    @Override
    public Iterator<String> iterator() {
      List<String> names = new ArrayList<>(CATALOGUE.keySet());
      names.add(LIST + "URI");
      return names.iterator();
    }
  }

  /** Refuses hyper-parameters that the command line gives and no chosen allocation has. */
  static void requireTaken(ParseResult given, List<AllocationChoice> chosen) {
    List<String> names = chosen.stream().map(AllocationChoice::name).toList();
    TAKERS.forEach(
        (flag, takers) -> {
          if (given.hasMatchedOption(flag) && Collections.disjoint(names, takers)) {
            throw new IllegalArgumentException(
                "Cannot use "
                    + flag
                    + " with --allocation "
                    + String.join(",", names)
                    + ": it belongs to "
                    + String.join(", ", takers));
          }
        });
  }

  /** Reads a choice, and names all of them if it is none. */
  static final class Converter implements ITypeConverter<AllocationChoice> {
    @Override
    public AllocationChoice convert(String value) {
      if (value.startsWith(LIST) && value.length() > LIST.length()) {
        return new AllocationChoice("ratios", value.substring(LIST.length()));
      }
      String name = value.toLowerCase(Locale.ROOT);
      if (!CATALOGUE.containsKey(name)) {
        throw new TypeConversionException(
            "expected one of " + String.join(", ", new Names()) + ", not '" + value + "'");
      }
      return new AllocationChoice(name, "");
    }
  }

  /** Whether it has to be read before it is an allocator. */
  boolean isList() {
    return !list.isEmpty();
  }

  /**
   * The allocators of a name of the catalogue, one for each combination of values.
   *
   * @throws IllegalArgumentException if a value is out of its range
   */
  List<SparsityAllocator> allocators(Parameters values) {
    return CATALOGUE.get(name).apply(values);
  }

  /** The allocator of a list. */
  GivenRatios read(Storage storage) throws IOException {
    return GivenRatios.read(storage, list);
  }

  @Override
  public String toString() {
    return name;
  }
}
