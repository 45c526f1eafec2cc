package ai.owl.benchmark;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.module.ModuleFinder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * Runs the benchmarks and the machine's limits in one go, and sets them against each other.
 *
 * <pre>
 * --smoke        small shapes and a moment each: that everything works, and nothing about speed
 * --only REGEX   only what JMH finds by this
 * --json FILE    writes what was measured
 * </pre>
 *
 * <p>Uses all cores that the process may use; each benchmark in a process of its own, but for those
 * of a smoke test.
 */
public final class KernelBenchmarks {
  private KernelBenchmarks() {}

  /**
   * @param name benchmark and parameters
   * @param milliseconds median time of a call
   * @param spread (slowest − fastest) / median of the iterations
   * @param perSecond work a second, median
   */
  private record Measured(
      String name, double milliseconds, double spread, Unit unit, double perSecond) {
    static Measured of(RunResult run) {
      Result<?> calls = run.getPrimaryResult();
      double median = calls.getStatistics().getPercentile(50);
      double spread = (calls.getStatistics().getMax() - calls.getStatistics().getMin()) / median;
      for (Unit unit : Unit.values()) {
        Result<?> work = run.getSecondaryResults().get(unit.counter);
        if (work != null) {
          double each = work.getScore() / calls.getScore();
          return new Measured(nameOf(run), 1e3 / median, spread, unit, each * median);
        }
      }
      throw new IllegalStateException(nameOf(run) + " counts no work");
    }

    private static String nameOf(RunResult run) {
      String[] path = run.getParams().getBenchmark().split("\\.");
      List<String> parameters =
          run.getParams().getParamsKeys().stream()
              .filter(key -> !key.equals("shape"))
              .map(run.getParams()::getParam)
              .toList();
      String name = path[path.length - 1];
      return parameters.isEmpty() ? name : name + " " + String.join(" ", parameters);
    }

    String rate() {
      return unit.format(perSecond);
    }
  }

  /** What is counted, and how its rate is said. */
  private enum Unit {
    FLOPS("flops") {
      @Override
      String format(double perSecond) {
        return String.format(Locale.ROOT, "%.1f GFLOP/s", perSecond / 1e9);
      }
    },
    BYTES("bytes") {
      @Override
      String format(double perSecond) {
        return String.format(Locale.ROOT, "%.1f GB/s", perSecond / 1e9);
      }
    },
    WEIGHTS("weights") {
      @Override
      String format(double perSecond) {
        return String.format(Locale.ROOT, "%.2f ns/weight", 1e9 / perSecond);
      }
    };

    private final String counter;

    Unit(String counter) {
      this.counter = counter;
    }

    abstract String format(double perSecond);
  }

  public static void main(String[] arguments) throws RunnerException, IOException {
    boolean smoke = false;
    String only = ".*";
    Optional<Path> json = Optional.empty();
    for (int i = 0; i < arguments.length; i++) {
      switch (arguments[i]) {
        case "--smoke" -> smoke = true;
        case "--only" -> only = arguments[++i];
        case "--json" -> json = Optional.of(Path.of(arguments[++i]));
        default -> throw new IllegalArgumentException("Cannot use " + arguments[i]);
      }
    }
    // The limits want vector code even where the kernels are run without.
    boolean vectors = ModuleFinder.ofSystem().find("jdk.incubator.vector").isPresent();
    List<Measured> limits =
        run(
            options(smoke)
                .include(MachineLimits.class.getName())
                .jvmArgsAppend(
                    vectors ? new String[] {"--add-modules=jdk.incubator.vector"} : new String[0]));
    List<Measured> kernels =
        run(
            options(smoke)
                .include(only)
                .exclude(MachineLimits.class.getName())
                .forks(smoke ? 0 : 1));
    List<String> shares = shares(limits, kernels);
    print(limits, kernels, shares);
    if (smoke) {
      System.out.println("all results are right; the speeds of a smoke test mean nothing");
    }
    if (json.isPresent()) {
      write(json.get(), limits, kernels, shares);
    }
  }

  private static ChainedOptionsBuilder options(boolean smoke) {
    TimeValue moment = smoke ? TimeValue.milliseconds(20) : TimeValue.seconds(2);
    return new OptionsBuilder()
        .mode(Mode.Throughput)
        .timeUnit(TimeUnit.SECONDS)
        .forks(1)
        .param("shape", (smoke ? ModelShape.SMOKE : ModelShape.LLAMA_7B).name())
        .warmupIterations(smoke ? 1 : 3)
        .warmupTime(moment)
        .measurementIterations(smoke ? 1 : 7)
        .measurementTime(moment)
        .timeout(TimeValue.minutes(10))
        .shouldFailOnError(true);
  }

  private static List<Measured> run(ChainedOptionsBuilder options) throws RunnerException {
    Collection<RunResult> runs = new Runner(options.build()).run();
    return runs.stream().map(Measured::of).toList();
  }

  /** What the kernels make of the limits, where both were measured. */
  private static List<String> shares(List<Measured> limits, List<Measured> kernels) {
    List<String> shares = new ArrayList<>();
    List<Measured> products = kernels.stream().filter(m -> m.name.startsWith("linear ")).toList();
    if (products.isEmpty()) {
      return shares;
    }
    double peak = named(limits, "multiplyAdd").orElseThrow().perSecond;
    double seconds = 0;
    double flops = 0;
    for (Measured product : products) {
      shares.add(share(product.name + " of the peak of multiply-adds", product.perSecond / peak));
      // How often a block of this network has the layer.
      int times = product.name.endsWith("ATTENTION") ? 4 : product.name.endsWith("GATE") ? 2 : 1;
      seconds += times * product.milliseconds / 1e3;
      flops += times * product.perSecond * product.milliseconds / 1e3;
    }
    double together = flops / seconds;
    shares.add("the block's products alone: " + Unit.FLOPS.format(together));
    for (String name : List.of("advance", "observe")) {
      named(kernels, name)
          .ifPresent(
              block ->
                  shares.add(share(name + " of its products alone", block.perSecond / together)));
    }
    return shares;
  }

  private static Optional<Measured> named(List<Measured> all, String name) {
    return all.stream().filter(measured -> measured.name.equals(name)).findFirst();
  }

  private static String share(String what, double share) {
    return String.format(Locale.ROOT, "%s: %.0f %%", what, 100 * share);
  }

  private static void print(List<Measured> limits, List<Measured> kernels, List<String> shares) {
    System.out.println();
    Machine.description().forEach(System.out::println);
    Machine.implementation().forEach(System.out::println);
    System.out.println();
    List<Measured> all = new ArrayList<>(limits);
    all.addAll(kernels);
    int width = all.stream().map(m -> m.name.length()).max(Comparator.naturalOrder()).orElse(1);
    String line = "%-" + width + "s %12s ms  %-18s spread %.0f %%%n";
    for (Measured m : all) {
      String time = String.format(Locale.ROOT, "%.3f", m.milliseconds);
      System.out.printf(Locale.ROOT, line, m.name, time, m.rate(), 100 * m.spread);
    }
    System.out.println();
    shares.forEach(System.out::println);
  }

  private static void write(
      Path file, List<Measured> limits, List<Measured> kernels, List<String> shares)
      throws IOException {
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode json = mapper.createObjectNode();
    List<String> machine = new ArrayList<>(Machine.description());
    machine.addAll(Machine.implementation());
    machine.forEach(json.putArray("machine")::add);
    json.put("cores", Machine.cores());
    ObjectNode measured = json.putObject("measured");
    for (List<Measured> some : List.of(limits, kernels)) {
      for (Measured m : some) {
        measured
            .putObject(m.name)
            .put("milliseconds", m.milliseconds)
            .put("perSecond", m.perSecond)
            .put("unit", m.unit.counter)
            .put("rate", m.rate())
            .put("spread", m.spread);
      }
    }
    shares.forEach(json.putArray("shares")::add);
    Files.writeString(file, mapper.writerWithDefaultPrettyPrinter().writeValueAsString(json));
  }
}
