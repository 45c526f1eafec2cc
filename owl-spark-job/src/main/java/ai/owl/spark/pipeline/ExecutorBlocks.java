package ai.owl.spark.pipeline;

import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Blas;
import ai.owl.kernel.RowCode;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.ModelConfig;
import ai.owl.pruning.BlockPruner;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.bytedeco.javacpp.Pointer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The decoder blocks that are in memory on this executor, shared by its tasks: each is read from
 * storage once, however many slices run through it here. At most two that nobody waits to free are
 * kept: the one at work and the one that comes next.
 */
final class ExecutorBlocks {
  private static final Logger LOG = LoggerFactory.getLogger(ExecutorBlocks.class);
  private static final int KEPT = 2;

  private static final Map<Key, Entry> ENTRIES = new HashMap<>();
  private static final Deque<ForwardBuffers> IDLE_BUFFERS = new ArrayDeque<>();
  private static String buffersOf = "";

  /**
   * How many blocks the flat jobs, which load a block for one task only, may have in memory here at
   * once.
   */
  static final Semaphore FLAT_JOB_BLOCKS = new Semaphore(KEPT);

  private static final int MATRIX_SHARES = 1 << 10;

  /**
   * The same bound for flat jobs that load a matrix a task, in shares of those blocks' memory;
   * fair, lest a large matrix wait for ever.
   */
  static final Semaphore FLAT_JOB_MATRICES = new Semaphore(MATRIX_SHARES, true);

  /** How many shares a task with so many bytes has to hold, at most all. */
  static int matrixShares(long bytes, long blockBytes) {
    double shares = Math.ceil((double) MATRIX_SHARES * bytes / (KEPT * (double) blockBytes));
    return (int) Math.max(1, Math.min(MATRIX_SHARES, shares));
  }

  private ExecutorBlocks() {}

  /**
   * @param run one pipeline run; blocks of different runs never mix
   * @param weights where the block's weights stand: the input, or what was solved of it
   * @param pruned whether they were pruned since they were read
   */
  private record Key(String run, int block, String weights, boolean pruned) {
    static Key of(Source source, BlockLayout layout, boolean pruned) {
      String weights = layout.linears().get(0).weight().file();
      return new Key(source.run(), layout.index(), weights, pruned);
    }
  }

  private static final class Entry {
    final CompletableFuture<DecoderBlock> block = new CompletableFuture<>();
    int holders;
    long lastUse;
  }

  private static long uses;

  /** A block that is in memory until it is closed. */
  static final class Lease implements AutoCloseable {
    private final Entry entry;
    private boolean closed;

    private Lease(Entry entry) {
      this.entry = entry;
    }

    DecoderBlock block() {
      return entry.block.join();
    }

    @Override
    public void close() {
      synchronized (ENTRIES) {
        if (!closed) {
          closed = true;
          entry.holders--;
        }
      }
    }
  }

  /** Who reads, for which run. */
  record Source(String run, Storage storage, ModelConfig config) implements Serializable {}

  /** The dense block, from memory or from storage. */
  static Lease dense(Source source, BlockLayout layout) {
    Key key = Key.of(source, layout, false);
    Entry entry;
    synchronized (ENTRIES) {
      entry = ENTRIES.get(key);
      if (entry != null) {
        return hold(entry);
      }
      entry = add(key);
    }
    load(key, entry, () -> read(source, layout));
    return new Lease(entry);
  }

  /** Begins to read a dense block that will be asked for soon. */
  static void prefetch(Source source, BlockLayout layout) {
    synchronized (ENTRIES) {
      if (ENTRIES.containsKey(Key.of(source, layout, false))) {
        return;
      }
    }
    Thread reader =
        new Thread(
            () -> {
              try (Lease ignored = dense(source, layout)) {
                // Holding it until it is read is all that is to be done.
              } catch (RuntimeException | Error failure) {
                // Whoever asks for the block meets the failure himself, and has a task to report it
                // with.
              }
            },
            "owl-prefetch-block-" + layout.index());
    reader.setDaemon(true);
    try {
      reader.start();
    } catch (OutOfMemoryError e) { // no thread is to be had
      LOG.warn("Cannot read block {} before it is asked for: {}", layout.index(), e.toString());
    }
  }

  /**
   * The block pruned: made from the dense copy in memory if nobody uses that any more, else from
   * storage.
   *
   * @param next dense blocks that will be asked for soon, and are read while this one is pruned
   */
  static Lease pruned(Source source, PrunedBlock task, List<BlockLayout> next) {
    BlockLayout layout = task.layout();
    Key key = Key.of(source, layout, true);
    Entry entry;
    Optional<DecoderBlock> dense = Optional.empty();
    synchronized (ENTRIES) {
      entry = ENTRIES.get(key);
      if (entry != null) {
        return hold(entry);
      }
      Key denseKey = Key.of(source, layout, false);
      Entry unused = ENTRIES.get(denseKey);
      if (unused != null && unused.holders == 0 && isLoaded(unused)) {
        ENTRIES.remove(denseKey);
        dense = Optional.of(unused.block.join());
      }
      entry = add(key);
    }
    Optional<DecoderBlock> inMemory = dense;
    load(
        key,
        entry,
        () -> {
          DecoderBlock block = inMemory.isPresent() ? inMemory.get() : read(source, layout);
          // The executor's other tasks wait for it.
          try (Blas.OwnLimits ignored = Blas.withOwnLimits(cores(TaskContext.get()))) {
            next.forEach(other -> prefetch(source, other));
            BlockPruner.prune(block, task.pruner(), task.statistics(), task.patterns());
            return block;
          } catch (RuntimeException | Error e) {
            block.close();
            throw e;
          }
        });
    return new Lease(entry);
  }

  /**
   * Makes room for a task of a flat job, which loads a block for itself: what a pass has kept here
   * serves nobody any more.
   */
  static void acquireForFlatJob() throws InterruptedException {
    clear();
    FLAT_JOB_BLOCKS.acquire();
  }

  /** Forgets all blocks and buffers that are not in use. */
  static void clear() {
    synchronized (ENTRIES) {
      if (ENTRIES.isEmpty() && IDLE_BUFFERS.isEmpty()) {
        return;
      }
      evictDownTo(0);
      IDLE_BUFFERS.forEach(ForwardBuffers::close);
      IDLE_BUFFERS.clear();
      // The C library keeps what was freed in pieces of some MB, as packed weights are. A flat
      // job's
      // blocks, in larger pieces, would come on top.
      Pointer.trimMemory();
    }
  }

  private static final String EXECUTORS = "owl.executors";
  private static final String CORES = "owl.executor.cores";

  /**
   * Tells the tasks of this thread's next jobs how large the cluster is. Where executors come and
   * go, as it is now.
   */
  static void tellCluster(JavaSparkContext spark) {
    // The driver is among them, which in local mode is the executor.
    int executors = Math.max(1, spark.sc().statusTracker().getExecutorInfos().length - 1);
    spark.setLocalProperty(EXECUTORS, Integer.toString(executors));
    int cores = Math.max(1, spark.defaultParallelism() / executors);
    spark.setLocalProperty(CORES, Integer.toString(cores));
  }

  /**
   * Lets products use as many threads as the task has cores, slots times threads = cores; and where
   * a stage has fewer tasks than there are slots, also the cores that would stay idle.
   */
  static void useTaskCpus(TaskContext task) {
    int threads = task == null ? 1 : task.cpus();
    String executors = task == null ? null : task.getLocalProperty(EXECUTORS);
    if (executors != null) {
      int cores = Integer.parseInt(task.getLocalProperty(CORES));
      int hosts = Integer.parseInt(executors);
      threads = Math.max(threads, threads(task.numPartitions(), hosts, cores));
    }
    Blas.setThreads(threads);
  }

  /**
   * Lets the products of all tasks here share the executor's cores as they have use for them: for
   * tasks that differ in length, of which the last would be alone with its own core, and for those
   * of which only a few are at work at once.
   */
  static void shareCpus(TaskContext task) {
    if (task == null || task.getLocalProperty(CORES) == null) {
      useTaskCpus(task);
      return;
    }
    int cores = cores(task);
    Blas.setThreads(cores, cores);
  }

  /** Cores of this executor, or the task's own where {@link #tellCluster} was not called. */
  private static int cores(TaskContext task) {
    if (task == null) {
      return 1;
    }
    String cores = task.getLocalProperty(CORES);
    return cores == null ? task.cpus() : Math.max(task.cpus(), Integer.parseInt(cores));
  }

  /** The threads of each of so many tasks, when they are spread evenly. */
  static int threads(int tasks, int executors, int cores) {
    int together = (tasks + executors - 1) / executors;
    return Math.max(1, cores / together);
  }

  /** Working memory for one task; to be given back with {@link #giveBack}. */
  static ForwardBuffers buffers(Source source) {
    synchronized (ENTRIES) {
      if (!buffersOf.equals(source.run())) {
        IDLE_BUFFERS.forEach(ForwardBuffers::close);
        IDLE_BUFFERS.clear();
        buffersOf = source.run();
      }
      ForwardBuffers idle = IDLE_BUFFERS.poll();
      return idle != null ? idle : new ForwardBuffers(source.config());
    }
  }

  static void giveBack(Source source, ForwardBuffers buffers) {
    synchronized (ENTRIES) {
      if (buffersOf.equals(source.run())) {
        IDLE_BUFFERS.push(buffers);
      } else {
        buffers.close();
      }
    }
  }

  private static DecoderBlock read(Source source, BlockLayout layout) throws IOException {
    RowCode.prepare(); // meanwhile, should nobody have done so
    try (TensorReader reader = new TensorReader(source.storage())) {
      return DecoderBlock.load(source.config(), layout, reader);
    }
  }

  private static Lease hold(Entry entry) {
    entry.holders++;
    entry.lastUse = ++uses;
    return new Lease(entry);
  }

  /** Makes room and adds an entry that its maker holds. */
  private static Entry add(Key key) {
    evictDownTo(KEPT - 1);
    Entry entry = new Entry();
    entry.holders = 1;
    entry.lastUse = ++uses;
    ENTRIES.put(key, entry);
    return entry;
  }

  private static void evictDownTo(int count) {
    while (ENTRIES.size() > count) {
      Key oldest = null;
      for (Map.Entry<Key, Entry> candidate : ENTRIES.entrySet()) {
        Entry entry = candidate.getValue();
        if (entry.holders == 0
            && isLoaded(entry)
            && (oldest == null || entry.lastUse < ENTRIES.get(oldest).lastUse)) {
          oldest = candidate.getKey();
        }
      }
      if (oldest == null) {
        return; // all in use
      }
      ENTRIES.remove(oldest).block.join().close();
    }
  }

  private static boolean isLoaded(Entry entry) {
    return entry.block.isDone() && !entry.block.isCompletedExceptionally();
  }

  private interface Loading {
    DecoderBlock load() throws IOException;
  }

  /** Completes the entry, or takes it out again so that the next task tries anew. */
  private static void load(Key key, Entry entry, Loading loading) {
    try {
      entry.block.complete(loading.load());
    } catch (IOException | RuntimeException | Error e) {
      synchronized (ENTRIES) {
        ENTRIES.remove(key, entry);
      }
      entry.block.completeExceptionally(e);
      if (e instanceof IOException io) {
        throw new UncheckedIOException(io);
      }
      if (e instanceof RuntimeException runtime) {
        throw runtime;
      }
      throw (Error) e;
    }
  }
}
