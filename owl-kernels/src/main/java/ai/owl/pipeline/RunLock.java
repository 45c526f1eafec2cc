package ai.owl.pipeline;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Lets one run at a time write to a folder: a file in it says who, and is written again every few
 * seconds while that run lives. A lock that is not written any more is a dead run's, and taken over
 * by the next.
 *
 * <p>No clock of another machine is believed: whether a run lives is seen from its file changing.
 * Only of a process on the same machine it is known at once.
 *
 * <p>A lock alone does not keep a run that has been taken for dead from waking up. So nothing is
 * published without the run's own {@linkplain OutputShard#mark mark}, which whoever takes over
 * removes.
 */
final class RunLock implements AutoCloseable {
  static final String NAME = "lock.json";

  private static final int LARGEST = 1 << 16;

  /**
   * How long a lock lives.
   *
   * @param beat how often it is written
   * @param lease how long it may stay unchanged before its run is taken for dead
   */
  record Timing(Duration beat, Duration lease) {
    static final Timing USUAL = new Timing(Duration.ofSeconds(10), Duration.ofSeconds(45));
  }

  /**
   * Who holds a lock.
   *
   * @param run the run's id
   * @param host the driver's machine
   * @param process the driver's process id
   * @param processStarted when that process began, in milliseconds; process ids are used again
   * @param started when the run began
   * @param beat when the lock was written last, by the driver's clock
   */
  record Holder(
      String run, String host, long process, long processStarted, Instant started, Instant beat) {
    static Holder ofThisProcess(String run) {
      Instant now = Instant.now();
      return new Holder(
          run, thisHost(), ProcessHandle.current().pid(), began(ProcessHandle.current()), now, now);
    }

    private static long began(ProcessHandle process) {
      return process.info().startInstant().map(Instant::toEpochMilli).orElse(0L);
    }

    private static String thisHost() {
      try {
        return InetAddress.getLocalHost().getHostName();
      } catch (UnknownHostException e) {
        return Optional.ofNullable(System.getenv("HOSTNAME")).orElse("unknown");
      }
    }

    Holder beating() {
      return new Holder(run, host, process, processStarted, started, Instant.now());
    }

    private boolean isOfThisMachine() {
      return host.equals(thisHost()) && !host.equals("unknown");
    }

    /** Whether it is known that the run's process is gone. */
    boolean isGone() {
      return isOfThisMachine()
          && ProcessHandle.of(process)
              .filter(ProcessHandle::isAlive)
              .filter(alive -> began(alive) == processStarted)
              .isEmpty();
    }

    /** Whether it is known that the run is alive. */
    boolean isAlive(Duration lease) {
      return isOfThisMachine() && !isGone() && age().compareTo(lease) < 0;
    }

    /** Time since the last sign of life, if that clock agrees with ours. */
    Duration age() {
      return Duration.between(beat, Instant.now());
    }

    @Override
    public String toString() {
      return String.format(
          Locale.ROOT,
          "process %d on %s, begun %s, last sign of life %s",
          process,
          host,
          started.truncatedTo(java.time.temporal.ChronoUnit.SECONDS),
          beat.truncatedTo(java.time.temporal.ChronoUnit.SECONDS));
    }

    byte[] toBytes() {
      ObjectNode json = JsonNodeFactory.instance.objectNode();
      json.put("run", run);
      json.put("host", host);
      json.put("process", process);
      json.put("processStarted", processStarted);
      json.put("started", started.toString());
      json.put("beat", beat.toString());
      return (json.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8);
    }

    /** Nobody if these bytes are no lock, as of a file that a full disk has cut off. */
    static Optional<Holder> parse(byte[] bytes) {
      try {
        JsonNode json = new JsonMapper().readTree(bytes);
        if (!json.path("run").isTextual()) {
          return Optional.empty();
        }
        return Optional.of(
            new Holder(
                json.path("run").asText(),
                json.path("host").asText(),
                json.path("process").asLong(),
                json.path("processStarted").asLong(),
                Instant.parse(json.path("started").asText()),
                Instant.parse(json.path("beat").asText())));
      } catch (IOException | DateTimeException noLock) {
        return Optional.empty();
      }
    }
  }

  private final Storage storage;
  private final String folder;
  private final String location;
  private final ScheduledExecutorService heart;
  private Holder holder;

  private RunLock(Storage storage, String folder, String location, Holder holder, Duration beat) {
    this.storage = storage;
    this.folder = folder;
    this.location = location;
    this.holder = holder;
    this.heart =
        Executors.newSingleThreadScheduledExecutor(
            task -> {
              Thread thread = new Thread(task, "owl-heartbeat");
              thread.setDaemon(true);
              return thread;
            });
    heart.scheduleAtFixedRate(this::beat, beat.toMillis(), beat.toMillis(), TimeUnit.MILLISECONDS);
  }

  /** Where the lock of an output folder lies. */
  private static String location(String folder) {
    return Storage.resolve(OutputCheckpoint.workFolder(folder), NAME);
  }

  /**
   * A lock that is there.
   *
   * @param holder who holds it; empty if it cannot be read
   * @param content what it is seen by that it changes
   */
  record Found(Optional<Holder> holder, String content) {
    @Override
    public String toString() {
      return holder.map(Holder::toString).orElse("its lock cannot be read");
    }
  }

  /** The lock of an output folder, if there is one. */
  static Optional<Found> find(Storage storage, String folder) throws IOException {
    String location = location(folder);
    if (!storage.exists(location)) {
      return Optional.empty();
    }
    if (storage.isFolder(location)) {
      return Optional.of(new Found(Optional.empty(), "a folder"));
    }
    try {
      byte[] bytes = storage.readAll(location, LARGEST);
      return Optional.of(
          new Found(Holder.parse(bytes), new String(bytes, StandardCharsets.ISO_8859_1)));
    } catch (FileNotFoundException | NoSuchFileException gone) {
      return Optional.empty();
    } catch (MalformedCheckpointException tooLarge) {
      return Optional.of(new Found(Optional.empty(), tooLarge.getMessage()));
    }
  }

  /** Who holds the lock of an output folder, by what the file says; nobody if it cannot be read. */
  static Optional<Holder> holder(Storage storage, String folder) throws IOException {
    return find(storage, folder).flatMap(Found::holder);
  }

  /**
   * Refuses a folder whose lock is held by a run that is known to be alive, which is one of this
   * machine. Of others {@link #take} finds it out.
   */
  static void requireNotHeld(Storage storage, String folder) throws IOException {
    Optional<Holder> holder = holder(storage, folder);
    if (holder.isPresent() && holder.get().isAlive(Timing.USUAL.lease())) {
      throw refused(folder, holder.get().toString());
    }
  }

  /**
   * Takes the lock of an output folder, waiting until it is known whether another run is alive.
   *
   * @param run id of the run
   * @throws IllegalArgumentException if another run is
   */
  static RunLock take(Storage storage, String folder, String run, Timing timing, Progress progress)
      throws IOException {
    String location = location(folder);
    Holder ours = Holder.ofThisProcess(run);
    if (!storage.writeNew(location, ours.toBytes())) {
      awaitDeath(storage, folder, timing, progress);
      storage.writeAll(location, ours.toBytes());
      // Another run may have waited for the same. Whoever wrote last has it.
      sleep(timing.beat().dividedBy(10));
    }
    Optional<Holder> now = holder(storage, folder);
    if (now.isEmpty() || !now.get().run().equals(run)) {
      throw refused(folder, now.map(Holder::toString).orElse("begun at the same moment"));
    }
    return new RunLock(storage, folder, location, ours, timing.beat());
  }

  private static void awaitDeath(Storage storage, String folder, Timing timing, Progress progress)
      throws IOException {
    Optional<Found> first = find(storage, folder);
    if (first.isEmpty()) {
      return; // it has just ended
    }
    Optional<Holder> holder = first.get().holder();
    if (holder.isPresent() && holder.get().isAlive(timing.lease())) {
      throw refused(folder, holder.get().toString());
    }
    if (holder.isEmpty() || !holder.get().isGone()) {
      // By our clock it may have been dead for long; clocks differ, so a beat is waited for.
      boolean old = holder.isPresent() && holder.get().age().compareTo(timing.lease()) > 0;
      Duration patience = old ? timing.beat().multipliedBy(3).dividedBy(2) : timing.lease();
      progress.say(
          String.format(
              Locale.ROOT,
              "another run may be at work in %s (%s): waiting up to %d s for a sign of life",
              folder,
              first.get(),
              patience.toSeconds()));
      long end = System.nanoTime() + patience.toNanos();
      while (System.nanoTime() < end) {
        sleep(timing.beat().dividedBy(10));
        Optional<Found> now = find(storage, folder);
        if (now.isEmpty()) {
          return; // it has just ended
        }
        if (!now.equals(first)) {
          throw refused(folder, now.get().toString());
        }
      }
    }
    progress.warn(
        holder.isPresent()
            ? "taking over " + folder + " from a run that is dead (" + holder.get() + ")"
            : "taking over "
                + folder
                + ": its lock, "
                + location(folder)
                + ", cannot be read, and nobody writes it");
    if (storage.isFolder(location(folder))) {
      storage.delete(location(folder));
    }
  }

  private static IllegalArgumentException refused(String folder, String who) {
    return new IllegalArgumentException(
        "Cannot write to "
            + folder
            + ": another run is at work there ("
            + who
            + "); wait for it, end it, or give another --output");
  }

  private static void sleep(Duration duration) throws IOException {
    try {
      Thread.sleep(Math.max(1, duration.toMillis()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("Interrupted while waiting for a lock", e);
    }
  }

  private synchronized void beat() {
    try {
      if (isOurs()) {
        holder = holder.beating();
        storage.writeAll(location, holder.toBytes());
      }
    } catch (IOException | RuntimeException missed) {
      // The next beat may come through; if none does, the run is taken for dead, and finds that out
      // when it wants to publish something.
    }
  }

  private boolean isOurs() throws IOException {
    return holder(storage, folder).filter(now -> now.run().equals(holder.run())).isPresent();
  }

  /**
   * @throws IOException if another run holds the lock now
   */
  synchronized void require() throws IOException {
    if (!isOurs()) {
      throw new FileSystemException(
          folder, null, "another run has begun to write there; it goes on, this one ends");
    }
  }

  /** Gives the lock up, if it is still ours. */
  @Override
  public void close() {
    heart.shutdownNow();
    synchronized (this) {
      try {
        if (isOurs()) {
          storage.delete(location);
        }
      } catch (IOException | RuntimeException left) {
        // It grows old, and is taken over.
      }
    }
  }
}
