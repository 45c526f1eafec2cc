package ai.owl.planning;

import ai.owl.allocation.Evidence;
import ai.owl.calibration.BlockGrams;
import ai.owl.kernel.Spectrum;
import ai.owl.model.BlockLayout;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LinearInput;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelConfig;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneRun;
import ai.owl.planning.StagePlan.Cost;
import ai.owl.pruning.SparseGpt;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.PriorityQueue;

/**
 * Foretells a run on Spark: the jobs are those of the pipeline, one a block in a pass and flat ones
 * with a task a block; their tasks go to slots as Spark deals them out, and take as long as the
 * rates say.
 */
public final class RunPlanner {
  /** Sequences are cut into at most so many tasks for every core. */
  public static final int TASKS_PER_CORE = 4;

  /** Blocks that an executor keeps in a pass. */
  private static final int BLOCKS_KEPT = 2;

  /** Blocks that flat jobs load there at once, after those of a pass are gone. */
  private static final int BLOCKS_OF_FLAT_JOBS = 2;

  private static final long MIB = 1L << 20;
  private static final long GIB = 1L << 30;

  /** Of the heap, less what Spark reserves, what it lets hidden states and shuffles have. */
  private static final double HEAP_SHARE = 0.6;

  private static final long RESERVED_HEAP = 300 * MIB;
  private static final long HEAP_OF_TASKS = 512 * MIB;

  /** Native libraries, metaspace, thread stacks, network buffers of an executor's process. */
  private static final long PROCESS = GIB;

  private static final double MARGIN = 1.1; // of what allocators and page tables add

  private final ModelLayout model;
  private final ModelConfig config;
  private final BlockCosts costs;
  private final PruneOptions options;
  private final Workload workload;
  private final Cluster cluster;
  private final MachineRates rates;
  private final int blocks;
  private final long blockBytes; // stored
  private final long outsideBytes;
  private final long headBytes;
  private boolean isWarm;

  private RunPlanner(
      ModelLayout model,
      PruneOptions options,
      Workload workload,
      Cluster cluster,
      MachineRates rates) {
    this.model = model;
    this.config = model.config();
    this.costs = new BlockCosts(config);
    this.options = options;
    this.workload = workload;
    this.cluster = cluster;
    this.rates = rates;
    this.blocks = model.blocks().size();
    this.blockBytes = model.blocks().stream().mapToLong(BlockLayout::bytes).max().orElse(0);
    this.outsideBytes = model.outside().stream().mapToLong(tensor -> tensor.bytes()).sum();
    this.headBytes = model.head().bytes();
  }

  /** Plans a run with the cores that a task gets given. */
  public static RunPlan plan(
      ModelLayout model,
      PruneOptions options,
      Workload workload,
      Cluster cluster,
      MachineRates rates) {
    return new RunPlanner(model, options, workload, cluster, rates).plan();
  }

  /**
   * Plans a run with as many cores a task as make it fastest, of those that fit.
   *
   * @param memory of an executor, in bytes, if it is limited
   * @return the fastest plan that fits; if none does, the one that needs least
   */
  public static RunPlan fastest(
      ModelLayout model,
      PruneOptions options,
      Workload workload,
      Cluster cluster,
      MachineRates rates,
      Optional<Long> memory) {
    RunPlan best = null;
    for (int cpus = 1; cpus <= cluster.cores(); cpus++) {
      if (cluster.cores() % cpus != 0) {
        continue;
      }
      RunPlan plan = plan(model, options, workload, cluster.withTaskCpus(cpus), rates);
      if (best == null || isBetter(plan, best, memory.orElse(Long.MAX_VALUE))) {
        best = plan;
      }
    }
    // Tasks use idle cores in any case; given them, no more of them ever share an executor.
    int cpus = best.cluster().threads(workload.sequences());
    return cluster.cores() % cpus == 0
        ? plan(model, options, workload, cluster.withTaskCpus(cpus), rates)
        : best;
  }

  private static boolean isBetter(RunPlan plan, RunPlan than, long memory) {
    boolean fits = plan.memory().executor() <= memory;
    if (fits != than.memory().executor() <= memory) {
      return fits;
    }
    return fits
        ? plan.seconds() < 0.98 * than.seconds() // few threads a task are what is known best
        : plan.memory().executor() < than.memory().executor();
  }

  /** Operations of the squared singular values of a matrix: {@code n² · m + n³}, n ≤ m. */
  static double spectrumFlops(long rows, long cols) {
    double n = Math.min(rows, cols);
    return n * n * Math.max(rows, cols) + n * n * n;
  }

  private RunPlan plan() {
    List<StagePlan> stages = new ArrayList<>();
    if (workload.windows() > 0) {
      stages.add(evaluate(false));
    }
    boolean isMeasured = workload.knowsDenseModel() && options.needsDensePass();
    if (options.needsDensePass() && !isMeasured) {
      stages.add(calibrate());
    }
    if (!options.allocator().needs().isEmpty() && !workload.knowsDenseModel()) {
      stages.add(profile());
    }
    if (options.prunesOnTheWay()) {
      stages.add(solve());
    } else if (options.needsSequentialPass()) {
      stages.add(propagate());
    }
    stages.add(prune());
    if (workload.windows() > 0) {
      stages.add(evaluate(true));
    }
    MemoryPlan memory = memory();
    RunPlan plan = new RunPlan(cluster, workload, stages, memory, rates, "");
    return new RunPlan(cluster, workload, stages, memory, rates, bottleneck(plan));
  }

  /** What one sequence needs in one block, in seconds of one core. */
  private record Work(double products, double activations) {
    Work plus(Work other) {
      return new Work(products + other.products, activations + other.activations);
    }

    /** On so many threads. */
    double seconds(int threads) {
      return (products + activations) / threads;
    }
  }

  private enum Observed {
    NOTHING,
    NORMS,
    GRAMS
  }

  private Work advance(int block, int tokens, Observed observed) {
    return through(block, tokens, costs.linearFlops(tokens) / rates.linearFlops(), observed);
  }

  private Work advancePruned(int block, int tokens) {
    double products = costs.linearFlops(tokens) / rates.prunedLinearFlops();
    return through(block, tokens, products, Observed.NOTHING);
  }

  private Work observe(int block, int tokens, Observed observed) {
    double products = costs.observedLinearFlops(tokens) / rates.linearFlops();
    return through(block, tokens, products, observed);
  }

  private Work through(int block, int tokens, double products, Observed observed) {
    double activations =
        costs.attentionFlops(block, tokens) / rates.attentionFlops()
            + costs.elementwiseValues(tokens) / rates.elementwiseValues();
    if (observed == Observed.NORMS) {
      activations += costs.observedValues(tokens) / rates.observedValues();
    } else if (observed == Observed.GRAMS) {
      products += costs.gramFlops(tokens) / rates.gramFlops();
    }
    return new Work(products, activations);
  }

  /** A stage while it is added up. */
  private final class Sum {
    private final String name;
    private final List<StagePlan.Jobs> jobs = new ArrayList<>();
    private final Map<Cost, Double> coreSeconds = new EnumMap<>(Cost.class);
    private double seconds;
    private double read;
    private double written;
    private double shuffled;

    Sum(String name) {
      this.name = name;
      if (!isWarm) {
        isWarm = true;
        allCores(Cost.BARRIERS, rates.warmUpSeconds());
      }
    }

    void jobs(String what, int count, int tasks) {
      jobs.add(new StagePlan.Jobs(what, count, tasks));
      allCores(Cost.BARRIERS, count * (rates.jobSeconds() + tasks * rates.taskSeconds()));
    }

    void cores(Cost cost, double value) {
      coreSeconds.merge(cost, value, Double::sum);
    }

    /** All cores do that, or wait for it. */
    void allCores(Cost cost, double wall) {
      cores(cost, wall * cluster.totalCores());
      seconds += wall;
    }

    /** One job's tasks with sequences, and a block read meanwhile. */
    void pass(int[] counts, Work work, double blockRead) {
      double one = work.seconds(cluster.threads(counts.length));
      double busy = schedule(counts, one, cluster.slots());
      int sequences = Arrays.stream(counts).sum();
      cores(Cost.PRODUCTS, sequences * work.products());
      cores(Cost.ACTIVATIONS, sequences * work.activations());
      seconds += busy;
      allCores(Cost.STORAGE, Math.max(0, blockRead - busy));
    }

    StagePlan plan() {
      double used = coreSeconds.values().stream().mapToDouble(Double::doubleValue).sum();
      coreSeconds.put(Cost.IDLE, Math.max(0, seconds * cluster.totalCores() - used));
      return new StagePlan(
          name, jobs, seconds, coreSeconds, (long) read, (long) written, (long) shuffled);
    }
  }

  /** Seconds until the last task is done, if each goes to the slot that is free first. */
  static double schedule(double[] tasks, int slots) {
    PriorityQueue<Double> free = new PriorityQueue<>();
    double last = 0;
    for (double task : tasks) {
      double end = (free.size() < slots ? 0 : free.remove()) + task;
      free.add(end);
      last = Math.max(last, end);
    }
    return last;
  }

  private static double schedule(int[] counts, double each, int slots) {
    return schedule(Arrays.stream(counts).mapToDouble(n -> n * each).toArray(), slots);
  }

  /** How many sequences each task gets, as Spark cuts a list. */
  private int[] counts(int sequences, int group) {
    int groups = (sequences + group - 1) / group;
    int tasks = Math.min(TASKS_PER_CORE * cluster.totalCores(), groups);
    int[] counts = new int[tasks];
    for (int i = 0; i < tasks; i++) {
      long first = (long) i * groups / tasks * group;
      long end = Math.min(sequences, (long) (i + 1) * groups / tasks * group);
      counts[i] = (int) (end - first);
    }
    return counts;
  }

  /** Executors that have a task to do. */
  private int busyExecutors(int tasks) {
    return Math.min(cluster.executors(), tasks);
  }

  private int tokens() {
    return config.readsImages() ? config.maxPositions() : workload.tokens();
  }

  /** Seconds that an executor needs to have a block in memory. */
  private double blockRead() {
    return blockBytes / rates.readBytes() + costs.weights() / rates.decodedWeights();
  }

  /** One executor's block read that all wait for. */
  private void waitForBlock(Sum sum) {
    sum.allCores(Cost.STORAGE, blockRead());
  }

  private void blockReads(Sum sum, int executors, int count) {
    sum.read += (double) executors * count * blockBytes;
    sum.cores(Cost.WEIGHTS, executors * count * costs.weights() / rates.decodedWeights());
  }

  private StagePlan calibrate() {
    Sum sum = new Sum(PruneRun.CALIBRATE);
    int[] counts = counts(workload.sequences(), 1);
    int tokens = tokens();
    sum.jobs("gather column norms of a block", blocks, counts.length);
    waitForBlock(sum);
    blockReads(sum, busyExecutors(counts.length), blocks);
    for (int block = 0; block < blocks - 1; block++) {
      sum.pass(counts, advance(block, tokens, Observed.NORMS), blockRead());
    }
    sum.pass(counts, observe(blocks - 1, tokens, Observed.NORMS), 0);
    return sum.plan();
  }

  /** Blocks or matrices that are worked on at once in an executor when a task has a whole one. */
  private int flatSlots(int tasks) {
    int perExecutor = (tasks + cluster.executors() - 1) / cluster.executors();
    return Math.max(
        1, Math.min(Math.min(cluster.slotsPerExecutor(), BLOCKS_OF_FLAT_JOBS), perExecutor));
  }

  private StagePlan profile() {
    Sum sum = new Sum(PruneRun.PROFILE);
    if (options.allocator().needs().stream().anyMatch(evidence -> evidence != Evidence.SPECTRA)) {
      sum.jobs("measure the blocks", 1, blocks);
      flat(sum, costs.weights() / rates.profiledWeights(), 0);
    }
    if (options.allocator().needs().contains(Evidence.SPECTRA)) {
      spectra(sum);
    }
    return sum.plan();
  }

  /**
   * A task a block: read, work on its rows with all cores, perhaps write.
   *
   * @param work seconds of one core
   * @param written bytes
   */
  private void flat(Sum sum, double work, long written) {
    int each = flatSlots(blocks);
    double encoding = written > 0 ? costs.weights() / rates.encodedWeights() : 0;
    double decoding = costs.weights() / rates.decodedWeights();
    double storage = each * (blockBytes / rates.readBytes() + written / rates.writeBytes());
    double one = storage + decoding + encoding + work * each / cluster.cores();
    double[] tasks = new double[blocks];
    Arrays.fill(tasks, one);
    double busy = schedule(tasks, cluster.executors() * each);
    sum.seconds += busy;
    sum.read += (double) blocks * blockBytes;
    sum.written += (double) blocks * written;
    sum.cores(Cost.WEIGHTS, blocks * (decoding + encoding + work));
    sum.cores(Cost.STORAGE, busy * storage / one * cluster.totalCores());
  }

  private void spectra(Sum sum) {
    List<Double> tasks = new ArrayList<>();
    for (BlockLayout block : model.blocks()) {
      for (LinearLayer linear : block.linears()) {
        double seconds =
            spectrumFlops(linear.outFeatures(), linear.inFeatures()) / rates.spectrumFlops();
        tasks.add(seconds);
        sum.cores(Cost.SOLVING, seconds);
      }
    }
    sum.jobs("take singular values", 1, tasks.size());
    sum.seconds +=
        schedule(tasks.stream().mapToDouble(Double::doubleValue).toArray(), cluster.slots());
    sum.read += (double) blocks * blockBytes;
    sum.cores(Cost.WEIGHTS, blocks * costs.weights() / rates.decodedWeights());
  }

  private StagePlan propagate() {
    Sum sum = new Sum(PruneRun.PROPAGATE);
    int[] counts = counts(workload.sequences(), 1);
    int executors = busyExecutors(counts.length);
    int tokens = tokens();
    double selecting = costs.weights() / rates.selectedWeights();
    boolean knowsFirst = options.needsDensePass() || workload.knowsDenseModel();
    waitForBlock(sum);
    blockReads(sum, executors, blocks);
    if (!knowsFirst) {
      sum.jobs("gather column norms of the first block", 1, counts.length);
      sum.pass(counts, observe(0, tokens, Observed.NORMS), 0);
    }
    if (blocks > 1) {
      sum.jobs("prune a block, run it, gather norms of the next", blocks - 1, counts.length);
    }
    for (int block = 1; block < blocks; block++) {
      // Every executor prunes its copy, with all cores; its tasks wait for it.
      sum.cores(Cost.WEIGHTS, executors * selecting);
      sum.seconds += selecting / cluster.cores();
      Work through = advancePruned(block - 1, tokens);
      sum.pass(counts, through.plus(observe(block, tokens, Observed.NORMS)), 0);
      // The next block is read while this one is pruned and the first sequence is in it.
      double first = selecting / cluster.cores() + through.seconds(cluster.threads(counts.length));
      sum.allCores(Cost.STORAGE, Math.max(0, blockRead() - first));
    }
    return sum.plan();
  }

  private StagePlan solve() {
    Sum sum = new Sum(PruneRun.PROPAGATE);
    int[] counts = counts(workload.sequences(), BlockGrams.GROUP);
    int executors = busyExecutors(counts.length);
    int groups = (workload.sequences() + BlockGrams.GROUP - 1) / BlockGrams.GROUP;
    int tokens = tokens();
    List<LinearInput> inputs = model.blocks().get(0).inputs();
    sum.jobs("gather Gram matrices of a block, solve it", blocks, counts.length + inputs.size());
    if (blocks > 1) {
      sum.jobs("run a solved block", blocks - 1, counts.length);
    }
    waitForBlock(sum);
    double sentByGroup = costs.gramBytesSent();
    double[] arithmetic = new double[inputs.size()]; // on all cores, which the tasks share
    double[] moving = new double[inputs.size()];
    double taking = 0;
    for (int i = 0; i < inputs.size(); i++) {
      List<LinearLayer> layers =
          layers(inputs.get(inputs.size() - 1 - i)); // as tasks are dealt out
      double n = layers.get(0).inFeatures();
      double fetched = groups * BlockCosts.gramBytesSent((int) n) / rates.shuffledBytes();
      taking += fetched;
      moving[i] = fetched;
      arithmetic[i] = 2.0 / 3 * n * n * n / rates.factorFlops();
      for (LinearLayer linear : layers) {
        double weights = linear.weight().elements();
        double bytes = linear.weight().bytes();
        arithmetic[i] += weights * n / rates.linearFlops() + weights / rates.sweptWeights();
        moving[i] +=
            weights / rates.decodedWeights()
                + weights / rates.encodedWeights()
                + bytes / rates.readBytes()
                + bytes / rates.writeBytes();
      }
    }
    double solving = Arrays.stream(arithmetic).sum();
    double solved =
        schedule(moving, cluster.slots())
            + schedule(
                Arrays.stream(arithmetic).map(seconds -> seconds / cluster.cores()).toArray(),
                cluster.executors());
    for (int block = 0; block < blocks; block++) {
      sum.pass(counts, observe(block, tokens, Observed.GRAMS), 0);
      // A task sends what its groups gave before the next group is observed.
      int most = Arrays.stream(counts).max().orElse(0);
      double waves = Math.ceil((double) counts.length / cluster.slots());
      double sending =
          waves * Math.ceil((double) most / BlockGrams.GROUP) * sentByGroup / rates.shuffledBytes();
      sum.seconds += sending + solved;
      sum.cores(Cost.SHUFFLING, groups * sentByGroup / rates.shuffledBytes() + taking);
      sum.cores(Cost.SOLVING, solving);
      sum.shuffled += groups * sentByGroup;
      sum.written += blockBytes;
      sum.read += blockBytes;
      if (block < blocks - 1) {
        boolean isSequential = options.propagation() == Propagation.SEQUENTIAL;
        Work through =
            isSequential ? advancePruned(block, tokens) : advance(block, tokens, Observed.NOTHING);
        if (isSequential) {
          waitForBlock(sum);
          blockReads(sum, executors, 1);
        }
        sum.pass(counts, through, blockRead());
      }
    }
    blockReads(sum, executors, blocks);
    return sum.plan();
  }

  /** The linear layers of a block that read an input. */
  private List<LinearLayer> layers(LinearInput input) {
    BlockLayout block = model.blocks().get(0);
    return block.readers(input).stream().map(block.linears()::get).toList();
  }

  private StagePlan prune() {
    Sum sum = new Sum(PruneRun.PRUNE);
    sum.jobs(
        options.prunesOnTheWay() ? "gather the solved layers" : "prune the blocks and write them",
        1,
        blocks + 1);
    if (options.prunesOnTheWay()) {
      double copied = blockBytes / rates.readBytes() + blockBytes / rates.writeBytes();
      double hashing = costs.weights() / rates.encodedWeights();
      int each =
          Math.min(
              cluster.slotsPerExecutor(), (blocks + cluster.executors() - 1) / cluster.executors());
      double[] tasks = new double[blocks];
      Arrays.fill(tasks, each * copied + hashing);
      double busy = schedule(tasks, cluster.executors() * each);
      sum.seconds += busy;
      sum.cores(
          Cost.STORAGE, busy * each * copied / (each * copied + hashing) * cluster.totalCores());
      sum.cores(Cost.WEIGHTS, blocks * hashing);
      sum.read += (double) blocks * blockBytes;
      sum.written += (double) blocks * blockBytes;
    } else {
      flat(sum, costs.weights() / rates.selectedWeights(), blockBytes);
    }
    // The last task copies what is outside the blocks, beside others.
    double outside = outsideBytes / rates.readBytes() + outsideBytes / rates.writeBytes();
    sum.seconds += Math.max(0, outside - sum.seconds);
    sum.read += outsideBytes;
    sum.written += outsideBytes;
    return sum.plan();
  }

  private StagePlan evaluate(boolean pruned) {
    Sum sum = new Sum(PruneRun.EVALUATE);
    int[] counts = counts(workload.windows(), 1);
    int executors = busyExecutors(counts.length);
    int tokens = tokens();
    sum.jobs("run a block", blocks, counts.length);
    sum.jobs("predict", 1, counts.length);
    waitForBlock(sum);
    blockReads(sum, executors, blocks);
    for (int block = 0; block < blocks; block++) {
      Work through =
          pruned ? advancePruned(block, tokens) : advance(block, tokens, Observed.NOTHING);
      sum.pass(counts, through, block < blocks - 1 ? blockRead() : 0);
    }
    if (!config.readsImages()) {
      double logits = (double) tokens * config.vocabSize();
      Work head =
          new Work(
              2 * logits * config.embeddingSize() / rates.linearFlops(), logits / rates.logits());
      sum.pass(counts, head, 0);
      // Each task reads the head for itself.
      double tasksOfExecutor = Math.ceil((double) counts.length / cluster.executors());
      sum.allCores(Cost.STORAGE, tasksOfExecutor * headBytes / rates.readBytes());
      sum.read += (double) counts.length * headBytes;
    }
    return sum.plan();
  }

  private MemoryPlan memory() {
    int tokens = tokens();
    int most = Math.max(workload.sequences(), workload.windows());
    int[] counts = counts(most, 1);
    int atOnce = tasksAtOnce(counts.length);
    long block = 4 * costs.weights();
    long buffers = atOnce * (ForwardBuffers.bytes(config, tokens) + costs.hiddenBytes(tokens));
    long kept = Math.min(BLOCKS_KEPT, blocks) * block;
    long flat = flatSlots(blocks) * block;
    if (options.allocator().needs().contains(Evidence.SPECTRA)) {
      flat = Math.max(flat, spectra());
    }
    boolean hasPasses =
        options.needsDensePass() && !workload.knowsDenseModel()
            || options.needsSequentialPass()
            || options.prunesOnTheWay()
            || workload.windows() > 0;
    boolean profiles = !options.allocator().needs().isEmpty() && !workload.knowsDenseModel();
    long ofFlatJobs = options.prunesOnTheWay() && !profiles ? 0 : flat;
    long blocksInMemory = Math.max(hasPasses ? kept : 0, ofFlatJobs);
    long grams = 0;
    long solving = 0;
    if (options.prunesOnTheWay()) {
      int groups = counts(workload.sequences(), BlockGrams.GROUP).length;
      grams = tasksAtOnce(groups) * costs.gramBytes();
      solving = solving();
    }
    long head = 0;
    if (workload.windows() > 0 && !config.readsImages()) {
      // The slices of LanguageModelHead: 64 MiB of weights, and the logits that go with them.
      long slice = Math.min(config.vocabSize(), (1L << 24) / config.embeddingSize());
      long states = Arrays.stream(counts).max().orElse(0) * costs.hiddenBytes(tokens);
      head = atOnce * (4 * slice * (config.embeddingSize() + tokens) + states);
    }
    // What is there at the same time: kept blocks and one of the others, or a flat job's blocks.
    long passes = hasPasses ? buffers + grams : 0;
    long others = Math.max(passes, Math.max(buffers + solving, head));
    long offHeap = Math.max(hasPasses ? kept + others : 0, ofFlatJobs);
    long ofExecutor =
        Math.min(
            most,
            (long) Math.ceil((double) counts.length / cluster.executors())
                * Arrays.stream(counts).max().orElse(1));
    long hiddenStates = hasPasses ? 2 * ofExecutor * costs.hiddenBytes(tokens) : 0;
    long shuffles = options.prunesOnTheWay() ? GIB : 0;
    long heap =
        roundUp(
            (long) ((hiddenStates + shuffles) / HEAP_SHARE) + RESERVED_HEAP + HEAP_OF_TASKS,
            512 * MIB);
    long overhead = roundUp((long) (MARGIN * offHeap) + PROCESS, 256 * MIB);
    return new MemoryPlan(
        blocksInMemory,
        buffers,
        grams,
        solving,
        head,
        hiddenStates,
        offHeap,
        heap,
        overhead,
        driver());
  }

  private int tasksAtOnce(int tasks) {
    int each = (tasks + cluster.executors() - 1) / cluster.executors();
    return Math.max(1, Math.min(cluster.slotsPerExecutor(), each));
  }

  /** Bytes of what is solved at once: the largest, one layer of each input at a time. */
  private long solving() {
    List<LinearInput> inputs = model.blocks().get(0).inputs();
    return inputs.stream()
        .map(input -> layers(input).stream().mapToLong(SparseGpt::workingBytes).max().orElseThrow())
        .sorted((a, b) -> Long.compare(b, a))
        .limit(tasksAtOnce(inputs.size()))
        .mapToLong(Long::longValue)
        .sum();
  }

  /** The same for singular values; the shares of flat jobs bound it by two blocks. */
  private long spectra() {
    long largest =
        model.blocks().get(0).linears().stream()
            .mapToLong(
                linear ->
                    4 * linear.weight().elements()
                        + Spectrum.workingBytes(linear.outFeatures(), linear.inFeatures()))
            .max()
            .orElse(0);
    return Math.max(largest, BLOCKS_OF_FLAT_JOBS * 4 * costs.weights());
  }

  /** Statistics of all blocks, those of one block by sequence, tokens, and Spark itself. */
  private long driver() {
    long statistics = costs.statisticsBytes() * (2L * blocks + 2L * workload.sequences());
    long tokens = 4L * tokens() * ((long) workload.sequences() + workload.windows());
    return roundUp(2 * (statistics + tokens) + 512 * MIB, 512 * MIB);
  }

  private static long roundUp(long value, long unit) {
    return (value + unit - 1) / unit * unit;
  }

  private String bottleneck(RunPlan plan) {
    Map<Cost, Double> shares = plan.shares();
    Cost largest = Cost.PRODUCTS;
    for (Map.Entry<Cost, Double> share : shares.entrySet()) {
      if (share.getValue() > shares.getOrDefault(largest, 0.0)) {
        largest = share.getKey();
      }
    }
    int sequences = workload.sequences();
    int slots = cluster.slots();
    return switch (largest) {
      case PRODUCTS, ACTIVATIONS ->
          "arithmetic: more cores make it faster, up to as many slots as there are sequences";
      case WEIGHTS -> "the weights themselves: they are read, counted and chosen once a pass";
      case SOLVING ->
          "solving: the layers of one input are one task, and the largest is waited for";
      case SHUFFLING ->
          "shuffling Gram matrices: fewer --sequences, or a faster network, make it faster";
      case STORAGE ->
          "storage: every executor reads every block in every pass; fewer and larger executors"
              + " read less";
      case BARRIERS -> "starting jobs and tasks: the model is too small for so many cores";
      case IDLE -> {
        if (options.prunesOnTheWay()) {
          yield String.format(
              "idle cores: a block's Gram matrices are %d %s, one for each %d sequences, and its"
                  + " linear layers %d, one for each input, of which the largest is waited for; fewer"
                  + " executors take little longer",
              groups(),
              groups() == 1 ? "task" : "tasks",
              BlockGrams.GROUP,
              model.blocks().get(0).inputs().size());
        }
        if (sequences < slots) {
          yield String.format(
              "idle slots: %d sequences are as many tasks, for %d slots; fewer executors take about"
                  + " as long",
              sequences, slots);
        }
        yield String.format(
            "idle slots: %d sequences do not share out evenly over %d slots, or blocks over"
                + " executors",
            sequences, slots);
      }
    };
  }

  private int groups() {
    return (workload.sequences() + BlockGrams.GROUP - 1) / BlockGrams.GROUP;
  }
}
