package ai.owl.planning;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.ProfileMeasurement;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.Gram;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Attention;
import ai.owl.kernel.Blas;
import ai.owl.kernel.Spectrum;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.LinearInput;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelConfig;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pruning.BlockPruner;
import ai.owl.pruning.InputPruner;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.Wanda;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.ToDoubleFunction;

/**
 * Measures this machine with the kernels that a run uses, on a block of made-up weights in the
 * model's own shapes, or narrower ones if it is large. As many cores work at once as an executor is
 * to have, if there are so many here, since they get in each other's way.
 */
public final class RateMeasurement {
  private static final long LARGEST_BLOCK = 64L << 20; // weights
  private static final int VOCABULARY = 4096;
  private static final int LONGEST = 1024; // tokens
  private static final int REPEATS = 3;
  private static final int FEW_ROWS = 64;
  private static final int SPECTRUM = 512;
  private static final int SAMPLE = 8 << 20;
  private static final int SAMPLES = 8;
  private static final double DISTURBED = 0.75; // load a core

  // What takes a cluster to measure. Found in runs on two cores with a local disk.
  private static final double SHUFFLED_BYTES = 250e6;
  private static final double JOB_SECONDS = 0.05;
  private static final double TASK_SECONDS = 0.004;
  private static final double SPARK_WARM_UP = 0.5;
  private static final double UNKNOWN_STORAGE = 200e6;

  private final ModelLayout model;
  private final Storage storage;
  private final PruneOptions options;
  private final int tokens;
  private final int threads;

  private RateMeasurement(
      ModelLayout model, Storage storage, PruneOptions options, int tokens, int threads) {
    this.model = model;
    this.storage = storage;
    this.options = options;
    this.tokens = tokens;
    this.threads = threads;
  }

  /**
   * How fast storage is.
   *
   * @param source in words
   */
  public record StorageRates(String source, double readBytes, double writeBytes) {
    /** Where nothing is there to be read. */
    public static StorageRates assumed() {
      return new StorageRates(
          String.format(Locale.ROOT, "assumed: %.0f MB/s an executor", UNKNOWN_STORAGE / 1e6),
          UNKNOWN_STORAGE,
          UNKNOWN_STORAGE);
    }
  }

  /**
   * Reads up to 64 MB of a checkpoint's weights, spread over it, and says how fast that went.
   * Writing is taken to be as fast.
   */
  public static StorageRates sample(Storage storage, ModelLayout model) throws IOException {
    List<BlockLayout> blocks = model.blocks();
    byte[] buffer = new byte[SAMPLE];
    long bytes = 0;
    double seconds = 0;
    int samples = Math.min(SAMPLES, blocks.size());
    for (int i = 0; i < samples; i++) {
      LinearLayer linear = blocks.get(i * blocks.size() / samples).linears().get(0);
      int length = (int) Math.min(SAMPLE, linear.weight().bytes());
      try (Storage.Reader reader = storage.open(linear.weight().file())) {
        long start = System.nanoTime();
        reader.read(linear.weight().position(), buffer, 0, length);
        seconds += seconds(start);
        bytes += length;
      }
    }
    double rate = bytes / seconds;
    return new StorageRates(
        String.format(Locale.ROOT, "%.0f MB read at %.0f MB/s", bytes / 1e6, rate / 1e6),
        rate,
        rate);
  }

  /**
   * Measures.
   *
   * @param config of the model that is to be pruned
   * @param type of its stored weights
   * @param options of the run: what is not part of it is not measured with care
   * @param tokens of a sequence
   * @param cores of an executor
   */
  public static MachineRates measure(
      ModelConfig config,
      DType type,
      PruneOptions options,
      int tokens,
      int cores,
      StorageRates storageRates)
      throws IOException {
    int here = Runtime.getRuntime().availableProcessors();
    int threads = Math.min(cores, here);
    int divisor = divisor(config);
    ModelLayout narrow =
        ModelLayout.ofShapes(config.narrowed(divisor, VOCABULARY), type, "synthetic");
    double load = ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
    int before = Blas.threads();
    long start = System.nanoTime();
    Blas.setThreads(1);
    try {
      MachineRates rates =
          new RateMeasurement(
                  narrow,
                  new SyntheticStorage(type),
                  options,
                  Math.max(16, Math.min(tokens, LONGEST)),
                  threads)
              .measure(storageRates, start);
      String shapes = divisor == 1 ? "the model's own shapes" : "1/" + divisor + " of its widths";
      return withSource(
          rates,
          String.format(
              Locale.ROOT,
              "measured here on %d of %d cores with %s, in %s, pruned at %s %%%s; storage: %s",
              threads,
              here,
              shapes,
              options.compute(),
              Math.round(1000 * options.sparsity()) / 10.0,
              disturbance(load, here),
              storageRates.source()));
    } finally {
      Blas.setThreads(before);
    }
  }

  /** A word on others at work here, who make the machine look slower than it is. */
  private static String disturbance(double load, int cores) {
    return load > DISTURBED * cores
        ? String.format(
            Locale.ROOT, ", while others were at work here (load %.1f): too slow, likely", load)
        : "";
  }

  private static MachineRates withSource(MachineRates rates, String source) {
    return MachineRates.of(rates.toJson().put("source", source), source);
  }

  /** The smallest power of two that makes the block small enough to measure with. */
  private static int divisor(ModelConfig config) {
    int divisor = 1;
    while (new BlockCosts(config.narrowed(divisor, VOCABULARY)).weights() > LARGEST_BLOCK
        && config.isNarrowedBy(2 * divisor)) {
      divisor *= 2;
    }
    return divisor;
  }

  private MachineRates measure(StorageRates storageRates, long start) throws IOException {
    BlockLayout layout = model.blocks().get(0);
    BlockCosts costs = new BlockCosts(model.config());
    long weights = costs.weights();
    BlockStatistics statistics = new BlockStatistics();
    DecoderBlock block = load(layout);
    try (ForwardBuffers buffers = new ForwardBuffers(model.config());
        Matrix hidden = hidden(tokens)) {
      block.advance(hidden, buffers, statistics);
    } catch (RuntimeException | Error e) {
      block.close();
      throw e;
    }
    double cold = seconds(start);
    Forward forward;
    try {
      forward = forward(block, costs);
    } finally {
      block.close();
    }
    List<Double> loads = new ArrayList<>();
    List<Double> profiles = new ArrayList<>();
    List<Double> selections = new ArrayList<>();
    List<Double> writes = new ArrayList<>();
    double pruned = 0;
    for (int i = 0; i < REPEATS; i++) {
      try (TensorReader reader = new TensorReader(storage);
          DecoderBlock fresh = DecoderBlock.loadWeights(model.config(), layout, reader)) {
        long at = System.nanoTime();
        try (Blas.OwnLimits all = Blas.withOwnLimits(threads)) {
          ProfileMeasurement.of(
              fresh, statistics, new TreeSet<>(Set.of(3.0, 5.0, 7.0, 10.0)), evidence());
        }
        profiles.add(seconds(at));
        at = System.nanoTime();
        write(layout, fresh);
        writes.add(seconds(at));
      }
      long at = System.nanoTime();
      // As a pass holds it, which is what is pruned in a sequential run.
      try (DecoderBlock fresh = load(layout)) {
        loads.add(seconds(at));
        at = System.nanoTime();
        try (Blas.OwnLimits all = Blas.withOwnLimits(threads)) {
          BlockPruner.prune(
              fresh,
              metric(),
              statistics,
              Collections.nCopies(layout.linears().size(), options.pattern()));
        }
        selections.add(seconds(at));
        if (i == REPEATS - 1) {
          pruned = downFlops() / best(passes(fresh, tokens), Pass::down);
        }
      }
    }
    Solve solve = solve(layout, forward.linear());
    double warm = Collections.min(loads) + costs.linearFlops(tokens) / forward.linear();
    return new MachineRates(
        "",
        forward.linear(),
        pruned,
        forward.attention(),
        forward.elementwise(),
        forward.observed(),
        solve.gram(),
        weights / (Collections.min(profiles) * threads),
        weights / (Collections.min(selections) * threads),
        solve.factor(),
        solve.swept(),
        options.allocator().needs().contains(Evidence.SPECTRA) ? spectrum() : forward.linear() / 10,
        weights / Collections.min(loads),
        weights / Collections.min(writes),
        logits(forward.linear()),
        storageRates.readBytes(),
        storageRates.writeBytes(),
        SHUFFLED_BYTES,
        JOB_SECONDS,
        TASK_SECONDS,
        SPARK_WARM_UP + Math.max(0, cold - warm));
  }

  private DecoderBlock load(BlockLayout layout) throws IOException {
    try (TensorReader reader = new TensorReader(storage)) {
      return DecoderBlock.load(model.config(), layout, reader);
    }
  }

  private Set<Evidence> evidence() {
    Set<Evidence> needs = EnumSet.of(Evidence.OUTLIERS);
    needs.addAll(options.allocator().needs());
    needs.remove(Evidence.SPECTRA);
    return needs;
  }

  private Pruner metric() {
    return options.pruner().needs() == Pruner.Evidence.GRAM
        ? new MetricPruner(new Wanda())
        : options.pruner();
  }

  private void write(BlockLayout layout, DecoderBlock block) throws IOException {
    for (LinearLayer linear : layout.linears()) {
      try (Matrix weight = block.weight(linear)) {
        SafetensorsWriter.write(
            storage,
            "synthetic",
            List.of(SafetensorsWriter.Entry.of(linear.name(), linear.weight().type(), weight)));
      }
    }
  }

  private Matrix hidden(int rows) {
    Matrix hidden = new Matrix(rows, model.config().hiddenSize());
    fill(hidden);
    return hidden;
  }

  private static void fill(Matrix matrix) {
    float[] row = new float[matrix.cols()];
    for (long r = 0; r < matrix.rows(); r++) {
      for (int j = 0; j < row.length; j++) {
        row[j] = ((int) (r * 31 + j) * 0x9E3779B9 >> 8) * 0x1p-23f;
      }
      matrix.setRow(r, row);
    }
  }

  /** Rates of the parts of a forward pass. */
  private record Forward(double linear, double attention, double elementwise, double observed) {}

  /**
   * Seconds of one pass through the block.
   *
   * @param attend from the norm to the heads' outputs
   * @param down of down_proj, which is nothing but a linear layer
   * @param observe in the observer, not part of the others
   */
  private record Pass(double total, double attend, double down, double observe) {}

  /**
   * The parts are told apart by when the observer is called, and attention, which grows with the
   * square of the length, from its linear layers by a shorter sequence.
   */
  private Forward forward(DecoderBlock block, BlockCosts costs) {
    int few = Math.max(8, tokens / 4);
    if (tokens >= 2 * Attention.ROWS) { // what it does with fewer queries may be something else
      few = Math.max(Attention.ROWS, few / Attention.ROWS * Attention.ROWS);
    }
    List<List<Pass>> longer = passes(block, tokens);
    List<List<Pass>> shorter = passes(block, few);
    double down = best(longer, Pass::down);
    double linear = downFlops() / down;
    double perToken = best(longer, Pass::attend) / tokens - best(shorter, Pass::attend) / few;
    double pairs = costs.attentionPairs(0, tokens) / tokens - costs.attentionPairs(0, few) / few;
    double flopsPerPair = costs.attentionFlops(0, tokens) / costs.attentionPairs(0, tokens);
    double rest = best(longer, Pass::total) - costs.linearFlops(tokens) / linear;
    // Noise may hide what little there is of it; no product is faster than a linear layer's.
    double ofPairs = Math.max(perToken / pairs, flopsPerPair / linear);
    double attention =
        Math.min(ofPairs * costs.attentionPairs(0, tokens), Math.max(0.9 * rest, 0.01 * down));
    double elementwise = Math.max(rest - attention, 0.01 * down);
    return new Forward(
        linear,
        costs.attentionFlops(0, tokens) / attention,
        costs.elementwiseValues(tokens) / elementwise,
        costs.observedValues(tokens) / best(longer, Pass::observe));
  }

  private double downFlops() {
    return 2.0 * model.config().intermediateSize() * model.config().hiddenSize() * tokens;
  }

  private List<List<Pass>> passes(DecoderBlock block, int rows) {
    return atOnce(
        () -> {
          List<Pass> passes = new ArrayList<>();
          try (ForwardBuffers buffers = new ForwardBuffers(model.config());
              Matrix hidden = hidden(rows)) {
            for (int i = 0; i <= REPEATS; i++) {
              fill(hidden);
              Stopwatch watch = new Stopwatch();
              block.advance(hidden, buffers, watch);
              if (i > 0) { // the first one touches its buffers' pages
                passes.add(watch.pass());
              }
            }
          }
          return passes;
        });
  }

  /** Gathers column norms, and notes when. */
  private static final class Stopwatch implements ActivationObserver {
    private final BlockStatistics statistics = new BlockStatistics();
    private final long[] called = new long[LinearInput.values().length];
    private final long[] done = new long[called.length];
    private final long start = System.nanoTime();

    @Override
    public void observe(LinearInput input, Matrix x) {
      called[input.ordinal()] = System.nanoTime();
      statistics.observe(input, x);
      done[input.ordinal()] = System.nanoTime();
    }

    Pass pass() {
      long end = System.nanoTime();
      long observing = 0;
      for (int i = 0; i < called.length; i++) {
        observing += done[i] - called[i];
      }
      return new Pass(
          1e-9 * (end - start - observing),
          1e-9
              * (called[LinearInput.ATTENTION_OUTPUT.ordinal()]
                  - done[LinearInput.ATTENTION.ordinal()]),
          1e-9 * (end - done[LinearInput.MLP_OUTPUT.ordinal()]),
          1e-9 * observing);
    }
  }

  /** Rates of what SparseGPT does. */
  private record Solve(double gram, double factor, double swept) {}

  /** One square layer with few rows, where the factorization is nearly all, and with many. */
  private Solve solve(BlockLayout layout, double linearFlops) {
    LinearLayer linear =
        layout.linears().stream()
            .filter(one -> one.role().input() == LinearInput.ATTENTION_OUTPUT)
            .findFirst()
            .orElseThrow();
    int n = linear.inFeatures();
    int many = Math.toIntExact(linear.outFeatures());
    int few = Math.min(FEW_ROWS, many / 2);
    SparseGpt pruner = options.pruner() instanceof SparseGpt given ? given : new SparseGpt();
    List<List<Solving>> times =
        atOnce(
            () -> {
              List<Solving> own = new ArrayList<>();
              try (Matrix x = new Matrix(tokens, n);
                  Gram gram = new Gram(n)) {
                fill(x);
                gram.add(x); // touches its pages
                for (int i = 0; i < REPEATS; i++) {
                  long at = System.nanoTime();
                  gram.add(x);
                  double summed = seconds(at);
                  double first = solve(linear, few, pruner, gram);
                  own.add(new Solving(summed, first, solve(linear, many, pruner, gram)));
                }
              }
              return own;
            });
    double ofFew = best(times, Solving::few);
    double perRow = Math.max(1e-9, (best(times, Solving::many) - ofFew) / (many - few));
    double factor = Math.max(0.1 * ofFew, ofFew - few * perRow);
    double swept = Math.max(0.1 * perRow, perRow - (double) n * n / linearFlops);
    return new Solve(
        (double) n * n * tokens / best(times, Solving::gram),
        2.0 / 3 * n * (double) n * n / factor,
        n / swept);
  }

  /** Seconds of a Gram matrix, and of solving with it a layer of few and of many rows. */
  private record Solving(double gram, double few, double many) {}

  private double solve(LinearLayer linear, int rows, SparseGpt pruner, Gram gram)
      throws IOException {
    try (TensorReader reader = new TensorReader(storage);
        Matrix weight = reader.readMatrix(linear.weight(), 0, rows)) {
      long at = System.nanoTime();
      try (InputPruner ofInput = new InputPruner(pruner, Optional.of(gram))) {
        ofInput.prune(linear, weight, options.pattern());
      }
      return seconds(at);
    }
  }

  private double spectrum() throws IOException {
    LinearLayer linear = model.blocks().get(0).linears().get(0);
    try (TensorReader reader = new TensorReader(storage)) {
      int rows = (int) Math.min(SPECTRUM, linear.outFeatures());
      try (Matrix weight = reader.readMatrix(linear.weight(), 0, rows)) {
        Spectrum.of(weight);
        long at = System.nanoTime();
        Spectrum.of(weight);
        return RunPlanner.spectrumFlops(rows, weight.cols()) / seconds(at);
      }
    }
  }

  private double logits(double linearFlops) throws IOException {
    if (model.config().readsImages()) {
      return linearFlops / 100;
    }
    int rows = Math.min(tokens, 256);
    int[] ids = new int[rows];
    double best = Double.MAX_VALUE;
    try (TensorReader reader = new TensorReader(storage)) {
      for (int i = 0; i < REPEATS; i++) {
        try (Matrix hidden = hidden(rows)) {
          long at = System.nanoTime();
          LanguageModelHead.losses(model, List.of(hidden), List.of(ids), reader);
          best = Math.min(best, seconds(at));
        }
      }
    }
    double logits = (double) (rows - 1) * model.config().vocabSize();
    double products = 2 * logits * model.config().embeddingSize() / linearFlops;
    return logits / Math.max(0.1 * best, best - products);
  }

  /** Does the same on every core at once. */
  private <T> List<T> atOnce(Callable<T> work) {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<T> results = new ArrayList<>();
      for (Future<T> done : pool.invokeAll(Collections.nCopies(threads, work))) {
        results.add(done.get());
      }
      return results;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Interrupted while measuring", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof Error error) {
        throw error; // out of memory, which the caller can say something of
      }
      throw new IllegalStateException(e.getCause());
    } finally {
      pool.shutdownNow();
    }
  }

  /** What is best of each core, which others disturb least; the mean of all cores. */
  private static <T> double best(List<List<T>> times, ToDoubleFunction<T> seconds) {
    return times.stream()
        .mapToDouble(own -> own.stream().mapToDouble(seconds).min().orElseThrow())
        .average()
        .orElseThrow();
  }

  private static double seconds(long start) {
    return 1e-9 * (System.nanoTime() - start);
  }
}
