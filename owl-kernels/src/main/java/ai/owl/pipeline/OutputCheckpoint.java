package ai.owl.pipeline;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorRef;
import ai.owl.checkpoint.UnfinishedFile;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelLayout;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * The checkpoint a run writes: one shard a block, one for all that lies outside of the blocks, the
 * input's other files, and the index, which is written last and is the commit. Without the index no
 * reader takes the folder for a model.
 *
 * <p>Shards have fixed names. Every attempt at a shard writes the same bytes, and storage publishes
 * a file whole or not at all, so a task that is tried twice, or runs twice at once, leaves what it
 * would have left alone; and the folder does not depend on how often anything was tried.
 *
 * <p>Driver side: {@link #begin}, then {@link #clear} and shards by whoever, then {@link #commit}
 * once with all receipts, and {@link #close} at the end; {@link #abort} if it comes otherwise. From
 * begin to close the run holds the folder's {@linkplain RunLock lock}; until it has committed, a
 * mark says that it is under way, and nothing is published without it: neither by tasks of a run
 * that has failed, nor by a run whose folder another one has taken.
 *
 * <p>Under {@code _owl/<fingerprint>} lies what a run needs to be gone on with: what it is ({@code
 * run.json}), the records of finished shards, kept results, and what its passes left. The same run
 * finds it there; any other is refused, unless it may overwrite.
 */
public final class OutputCheckpoint implements AutoCloseable {
  static final String INDEX = "model.safetensors.index.json";

  private static final String NOTES = "_owl";

  private static final int COPIED = 1 << 20; // bytes of a file at a time
  private static final int MAX_INDEX = 100 << 20;

  private static final Pattern SHARD = Pattern.compile("model(-\\d{5}-of-\\d{5})?\\.safetensors");

  private static final String MARK = ".started";

  private static final Pattern PROBE =
      Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.probe");

  private static final Set<String> REPORTS = Set.of("report.json", "report.html");

  /** What would be taken for the new model's if the new model has none of its own. */
  private static final Set<String> SIDECARS =
      Set.of(
          "added_tokens.json",
          "chat_template.jinja",
          "config.json",
          "generation_config.json",
          "merges.txt",
          "special_tokens_map.json",
          "tokenizer.json",
          "tokenizer.model",
          "tokenizer_config.json",
          "vocab.json");

  private final Storage storage;
  private final Checkpoint input;
  private final ModelLayout model;
  private final String folder;
  private final RunFolder run;
  private final RunLock lock;
  private final String mark;
  private final Map<Integer, FinishedShard> finished = new TreeMap<>(); // by number, when begun
  private final List<String> written = new ArrayList<>(); // by this driver, shards apart
  private boolean cleared;
  private boolean committing;
  private boolean committed;
  private boolean mended; // a checkpoint that was published before

  private OutputCheckpoint(
      Storage storage,
      Checkpoint input,
      ModelLayout model,
      String folder,
      RunFolder run,
      RunLock lock,
      String mark) {
    this.storage = storage;
    this.input = input;
    this.model = model;
    this.folder = folder;
    this.run = run;
    this.lock = lock;
    this.mark = mark;
  }

  /**
   * Whether there is a checkpoint in a folder: a configuration, and an index that can be read whose
   * shards are there.
   */
  static boolean isWhole(Storage storage, String folder) throws IOException {
    List<String> names = storage.list(folder);
    if (!names.contains(INDEX) || !names.contains("config.json")) {
      return false;
    }
    try {
      JsonNode shards =
          new JsonMapper()
              .readTree(storage.readAll(Storage.resolve(folder, INDEX), MAX_INDEX))
              .path("weight_map");
      for (JsonNode shard : shards) {
        if (!names.contains(shard.asText())) {
          return false;
        }
      }
      return shards.isObject() && !shards.isEmpty();
    } catch (JsonProcessingException | FileNotFoundException | MalformedCheckpointException bad) {
      return false;
    }
  }

  /** Where runs keep what is not part of the checkpoint. */
  static String workFolder(String output) {
    return Storage.resolve(output, NOTES);
  }

  /**
   * Refuses an output folder that a run with these options may not write to, as far as that is
   * known without its tokens. Changes nothing.
   *
   * @throws IllegalArgumentException if it is the input, a file, another run is at work there, or
   *     it holds something that may not be replaced and is no run that these options go on with
   */
  public static void requireFree(Storage storage, PruneOptions options) throws IOException {
    String output = options.output();
    if (storage.canonical(output).equals(storage.canonical(options.model()))) {
      throw refusedAsInput(output);
    }
    requireSpared(storage, output, "the model that is to be pruned", options.model());
    if (!storage.exists(output)) {
      return;
    }
    if (!storage.isFolder(output)) {
      throw new IllegalArgumentException(
          "Cannot write to " + output + ": it is a file; --output must be a folder");
    }
    RunLock.requireNotHeld(storage, output);
    if (options.overwrite() || isUntouched(storage, output)) {
      return;
    }
    List<RunFolder> runs = RunFolder.in(storage, output);
    for (RunFolder run : runs) {
      if (run.isOf(options)) {
        return;
      }
    }
    if (!runs.isEmpty() && !storage.exists(Storage.resolve(output, INDEX))) {
      Optional<RunFolder> described = Optional.empty();
      for (RunFolder run : runs) {
        described =
            described.isEmpty() && run.description().isPresent() ? Optional.of(run) : described;
      }
      if (described.isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot write to "
                + output
                + ": a run was broken off there, but "
                + runs.get(0).descriptionLocation()
                + ", its description, cannot be read; give --overwrite to replace it, or another"
                + " --output");
      }
      throw new IllegalArgumentException(
          "Cannot write to "
              + output
              + ": a run with other options was broken off there ("
              + described.get().difference(options)
              + "); give its options to go on with it, --overwrite to replace it, or another"
              + " --output");
    }
    throw occupied(output);
  }

  /**
   * Refuses something that a run needs and that lies where the run deletes, or where another will.
   *
   * @param output folder that the run writes to
   * @param what it is, for the message
   * @param location of it, whatever its spelling, and whether it is there or not
   * @throws IllegalArgumentException if it lies among the run's notes, or under the name of a file
   *     that a checkpoint consists of
   */
  public static void requireSpared(Storage storage, String output, String what, String location)
      throws IOException {
    String folder = storage.canonical(output) + "/";
    String place = storage.canonical(location);
    if (!place.startsWith(folder)) {
      return;
    }
    String name = place.substring(folder.length()).split("/")[0];
    boolean note = name.equals(NOTES);
    if (note || isOfCheckpoint(name)) {
      throw new IllegalArgumentException(
          "Cannot write to "
              + output
              + ": "
              + what
              + " lies in "
              + Storage.resolve(output, name)
              + (note ? ", where the run keeps its notes" : ", which the run replaces")
              + "; give another --output");
    }
  }

  /** Whether {@link #clear} takes a file of this name for one of the checkpoint to be replaced. */
  private static boolean isOfCheckpoint(String name) {
    return name.equals(INDEX)
        || SHARD.matcher(name).matches()
        || UnfinishedFile.is(name, SHARD) // of a process that was killed
        || SIDECARS.contains(name);
  }

  private static IllegalArgumentException occupied(String output) {
    return new IllegalArgumentException(
        "Cannot write to "
            + output
            + ": there is something in it; give --overwrite to replace it, or another --output");
  }

  /** Whether there is nothing but what dead runs have left that did not come far. */
  private static boolean isUntouched(Storage storage, String output) throws IOException {
    for (String name : storage.list(output)) {
      if (!name.equals(NOTES) && !UnfinishedFile.is(name)) {
        return false;
      }
    }
    for (String name : storage.list(workFolder(output))) {
      if (!name.equals(RunLock.NAME)
          && !isOfMoment(name)
          && !RunFolder.isLeftover(storage, output, name)) {
        return false;
      }
    }
    return true;
  }

  /** Whether a note is gone before long, if its run is not killed. */
  private static boolean isOfMoment(String name) {
    return name.endsWith(MARK) || PROBE.matcher(name).matches() || UnfinishedFile.is(name);
  }

  /**
   * Claims the output folder, and finds out whether it can be written to before hours are spent. A
   * checkpoint that is to be replaced stays until {@link #clear}.
   *
   * @param fingerprint of the run
   * @param goesOn whether the run goes on where an earlier one with the same fingerprint ended;
   *     otherwise it wants a folder of its own
   */
  static OutputCheckpoint begin(
      Storage storage,
      PruneOptions options,
      Checkpoint input,
      ModelLayout model,
      String fingerprint,
      boolean goesOn,
      RunLock.Timing timing,
      Progress progress)
      throws IOException {
    requireFree(storage, options);
    String output = options.output();
    if (storage.exists(output) && isSameFolder(storage, output, options.model())) {
      throw refusedAsInput(output);
    }
    Set<String> files = new TreeSet<>(); // links may lead anywhere
    input.tensors().values().forEach(tensor -> files.add(tensor.file()));
    input.sidecars().forEach(name -> files.add(Storage.resolve(input.folder(), name)));
    for (String file : files) {
      requireSpared(storage, output, file + ", of the model that is to be pruned,", file);
    }
    String id = UUID.randomUUID().toString();
    RunFolder run = new RunFolder(storage, output, fingerprint, progress);
    RunLock lock = RunLock.take(storage, output, id, timing, progress);
    String mark = Storage.resolve(workFolder(output), id + MARK);
    OutputCheckpoint begun = new OutputCheckpoint(storage, input, model, output, run, lock, mark);
    try {
      begun.claim(options, goesOn, progress);
      return begun;
    } catch (IOException | RuntimeException | Error e) {
      begun.abort(false);
      throw e;
    }
  }

  private void claim(PruneOptions options, boolean goesOn, Progress progress) throws IOException {
    String stamps = input.stamps();
    boolean known = goesOn && run.exists();
    boolean ours = known && run.isOf(stamps);
    if (known && !ours && !options.overwrite()) {
      throw new IllegalArgumentException(
          "Cannot write to "
              + folder
              + ": a run with "
              + input.folder()
              + " began there before that model's files were written; give --overwrite to begin"
              + " again, or another --output");
    }
    if (ours) {
      for (int shard = 0; shard <= model.blocks().size(); shard++) {
        Optional<FinishedShard> record =
            FinishedShard.read(
                storage, run.record(shardName(shard)), Storage.resolve(folder, shardName(shard)));
        if (record.filter(of(shard)).isPresent()) {
          finished.put(shard, record.get());
        }
      }
    }
    // A run that has written a shard has taken away the index of what was there before.
    boolean index = storage.exists(Storage.resolve(folder, INDEX));
    if (!options.overwrite()
        && (ours ? index && finished.isEmpty() : !isUntouched(storage, folder))) {
      throw ours || RunFolder.in(storage, folder).isEmpty() || index
          ? occupied(folder)
          : new IllegalArgumentException(
              "Cannot write to "
                  + folder
                  + ": a run of another model or with other calibration tokens was broken off"
                  + " there; give its own to go on with it, --overwrite to replace it, or another"
                  + " --output");
    }
    boolean published = ours && index && finished.size() == model.blocks().size() + 1;
    if (published && !options.overwrite()) {
      Optional<String> damage = damage();
      committed = damage.isEmpty();
      mended = damage.isPresent();
      damage.ifPresent(
          name ->
              progress.warn(
                  Storage.resolve(folder, name)
                      + " is not what this run writes: the checkpoint is published anew, from its"
                      + " shards"));
    }
    for (String name : storage.list(workFolder(folder))) {
      if (isOfMoment(name)) {
        storage.delete(Storage.resolve(workFolder(folder), name));
      }
    }
    if (published && options.overwrite()) {
      // Whoever says so wants it made again.
      finished.clear();
      run.delete();
    } else if (!ours) {
      run.delete();
    }
    if (committed) {
      run.deleteWork(); // if whoever committed was killed before that
    } else {
      storage.writeAll(mark, new byte[0]);
    }
    run.describe(options, model, stamps);
  }

  /** A file beside the shards that is missing or not what {@link #commit} would write. */
  private Optional<String> damage() throws IOException {
    List<ShardReceipt> receipts = finished.values().stream().map(FinishedShard::receipt).toList();
    if (!holds(Storage.resolve(folder, INDEX), index(receipts))) {
      return Optional.of(INDEX);
    }
    for (String name : input.sidecars()) {
      if (!isSame(Storage.resolve(input.folder(), name), Storage.resolve(folder, name))) {
        return Optional.of(name);
      }
    }
    return Optional.empty();
  }

  private boolean holds(String location, byte[] expected) throws IOException {
    if (storage.isFolder(location)) {
      return false;
    }
    try (Storage.Reader reader = storage.open(location)) {
      if (reader.size() != expected.length) {
        return false;
      }
      byte[] all = new byte[expected.length];
      reader.read(0, all, 0, all.length);
      return Arrays.equals(all, expected);
    }
  }

  private boolean isSame(String one, String other) throws IOException {
    if (!storage.exists(other) || storage.isFolder(other)) {
      return false;
    }
    try (Storage.Reader ours = storage.open(one);
        Storage.Reader theirs = storage.open(other)) {
      if (ours.size() != theirs.size()) {
        return false;
      }
      byte[] expected = new byte[COPIED];
      byte[] found = new byte[COPIED];
      for (long at = 0; at < ours.size(); at += COPIED) {
        int length = (int) Math.min(COPIED, ours.size() - at);
        ours.read(at, expected, 0, length);
        theirs.read(at, found, 0, length);
        if (!Arrays.equals(expected, 0, length, found, 0, length)) {
          return false;
        }
      }
      return true;
    }
  }

  /** Whether a record may be that of a shard. */
  private Predicate<FinishedShard> of(int shard) {
    List<TensorRef> tensors =
        shard == 0 ? model.outside() : model.blocks().get(shard - 1).tensors();
    List<String> names = tensors.stream().map(TensorRef::name).toList();
    return known ->
        known.receipt().file().equals(shardName(shard)) && known.receipt().tensors().equals(names);
  }

  /** What is kept of this run. */
  public RunFolder run() {
    return run;
  }

  /** Whether an earlier run has published the checkpoint: then nothing of it is left to do. */
  public boolean isCommitted() {
    return committed;
  }

  /** The shards that an earlier run has written, by block. */
  public Map<Integer, FinishedShard> finishedBlocks() {
    Map<Integer, FinishedShard> blocks = new TreeMap<>();
    finished.forEach(
        (number, shard) -> {
          if (number > 0) {
            blocks.put(number - 1, shard);
          }
        });
    return blocks;
  }

  /** The shard with everything outside of the blocks, if an earlier run has written it. */
  public Optional<FinishedShard> finishedOutside() {
    return Optional.ofNullable(finished.get(0));
  }

  /**
   * Takes away the checkpoint that is to be replaced, if there is one; everything else that
   * somebody keeps in the folder stays, among the notes too, and so do this run's finished shards.
   * From here on shards may be written.
   */
  public void clear() throws IOException {
    requireMark();
    cleared = true;
    // The index first: from here on nothing in the folder looks whole.
    storage.delete(Storage.resolve(folder, INDEX));
    Set<String> kept = new HashSet<>();
    finished.keySet().forEach(number -> kept.add(shardName(number)));
    for (String name : storage.list(folder)) {
      if (isOfCheckpoint(name) && !kept.contains(name)) {
        storage.delete(Storage.resolve(folder, name));
      }
    }
    for (String name : storage.list(workFolder(folder))) {
      String location = Storage.resolve(workFolder(folder), name);
      if (!location.equals(mark)
          && (isOfMoment(name)
              || REPORTS.contains(name)
              || RunFolder.isLeftover(storage, folder, name) && !name.equals(run.fingerprint()))) {
        storage.delete(location);
      }
    }
    for (RunFolder other : RunFolder.in(storage, folder)) {
      if (!other.fingerprint().equals(run.fingerprint())) {
        other.delete();
      }
    }
  }

  /** Another run that was told to overwrite takes the mark away. */
  private void requireMark() throws IOException {
    lock.require();
    if (!storage.exists(mark)) {
      throw new FileSystemException(
          folder, null, "another run has begun to write there; it goes on, this one ends");
    }
  }

  /**
   * Asked before anything is written beside a checkpoint that is published.
   *
   * @throws IOException if another run has taken this one for dead, and the folder over
   */
  void requireOurs() throws IOException {
    lock.require();
  }

  private static IllegalArgumentException refusedAsInput(String output) {
    return new IllegalArgumentException(
        "Cannot write to "
            + output
            + ": it is the model that is to be pruned; give another --output");
  }

  /**
   * Whether two locations are one folder. A folder has many spellings (relative paths, links,
   * default file systems), and only storage knows them all: what is written to the one then shows
   * in the other.
   */
  private static boolean isSameFolder(Storage storage, String output, String model)
      throws IOException {
    String name = UUID.randomUUID() + ".probe";
    String probe = Storage.resolve(workFolder(output), name);
    storage.writeAll(probe, new byte[0]);
    boolean same = storage.exists(Storage.resolve(workFolder(model), name));
    storage.delete(probe);
    if (storage.list(workFolder(output)).isEmpty()) {
      storage.delete(workFolder(output));
    }
    return same;
  }

  /** A place for the pruned weights of one linear layer until its block's shard is written. */
  public OutputShard part(LinearLayer linear) {
    return new OutputShard(run.part(linear.name()), mark);
  }

  /** The shard of a block. */
  public OutputShard blockShard(int block) {
    return shard(block + 1);
  }

  private OutputShard shard(int number) {
    String name = shardName(number);
    return new OutputShard(Storage.resolve(folder, name), run.record(name), mark);
  }

  private String shardName(int number) {
    return String.format(
        Locale.ROOT, "model-%05d-of-%05d.safetensors", number + 1, model.blocks().size() + 1);
  }

  /** Copies the tensors that belong to no block into a shard of their own, byte for byte. */
  public ShardReceipt writeOutside() throws IOException {
    return outsideShard().copy(storage, model.outside());
  }

  /** The shard with everything outside of the blocks. */
  public OutputShard outsideShard() {
    return shard(0);
  }

  /**
   * Publishes the checkpoint.
   *
   * @param receipts of all shards, in any order
   * @throws IllegalStateException if they do not hold every tensor of the input exactly once
   */
  public void commit(List<ShardReceipt> receipts) throws IOException {
    byte[] index = index(receipts);
    requireMark();
    for (String name : input.sidecars()) {
      String location = Storage.resolve(folder, name);
      written.add(location);
      copy(Storage.resolve(input.folder(), name), location);
    }
    requireMark();
    committing = true;
    storage.writeAll(Storage.resolve(folder, INDEX), index); // the commit
    committed = true;
    run.deleteWork();
    storage.delete(mark);
    storage.deleteUnfinished(folder);
  }

  /**
   * The file that says in which shard each tensor is.
   *
   * @throws IllegalStateException if the shards do not hold every tensor of the input exactly once
   */
  private byte[] index(List<ShardReceipt> receipts) {
    Map<String, String> weightMap = new TreeMap<>();
    long bytes = 0;
    for (ShardReceipt receipt : receipts) {
      bytes += receipt.dataBytes();
      for (String tensor : receipt.tensors()) {
        if (weightMap.put(tensor, receipt.file()) != null) {
          throw new IllegalStateException(
              "Cannot commit " + folder + ": " + tensor + " was written twice");
        }
      }
    }
    Set<String> expected = input.tensors().keySet();
    if (!weightMap.keySet().equals(expected)) {
      throw new IllegalStateException(
          "Cannot commit "
              + folder
              + ": "
              + weightMap.size()
              + " tensors were written, the input has "
              + expected.size());
    }
    ObjectNode index = JsonNodeFactory.instance.objectNode();
    index.putObject("metadata").put("total_size", bytes);
    ObjectNode map = index.putObject("weight_map");
    weightMap.forEach(map::put);
    return (index.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8);
  }

  private void copy(String from, String to) throws IOException {
    try (Storage.Reader reader = storage.open(from)) {
      Storage.FileStream out = storage.create(to);
      try {
        copy(reader, out);
      } catch (IOException | RuntimeException e) {
        out.abort();
        throw e;
      }
      out.close();
    }
  }

  private static void copy(Storage.Reader reader, OutputStream out) throws IOException {
    byte[] buffer = new byte[COPIED];
    for (long at = 0; at < reader.size(); ) {
      int length = (int) Math.min(buffer.length, reader.size() - at);
      reader.read(at, buffer, 0, length);
      out.write(buffer, 0, length);
      at += length;
    }
  }

  /**
   * Takes away what this run wrote, as far as that is possible. Once the index is being written,
   * nothing is touched any more: the checkpoint may be whole.
   *
   * @param mayGoOn whether the same run may be tried again and come further: then finished shards
   *     and what passes left stay
   * @return whether something has stayed that spares the next run work
   */
  public boolean abort(boolean mayGoOn) {
    boolean kept = false;
    try {
      // The mark first: what tasks that are still at work write is not published from here on.
      boolean ours = storage.exists(mark);
      storage.delete(mark);
      kept = mayGoOn && run.isWorthKeeping();
      if (ours && !committing && !kept && !mended) {
        run.delete();
        if (cleared) {
          for (int shard = 0; shard <= model.blocks().size(); shard++) {
            storage.delete(Storage.resolve(folder, shardName(shard)));
          }
          for (String location : written) {
            storage.delete(location);
          }
        }
      }
    } catch (IOException ignored) {
      // Best effort: without an index, what is left is no checkpoint.
    }
    close();
    return kept;
  }

  /** Gives the folder free for other runs. */
  @Override
  public void close() {
    lock.close();
    try {
      deleteIfEmpty(storage, workFolder(folder));
      deleteIfEmpty(storage, folder);
    } catch (IOException ignored) {
      // An empty folder harms nobody.
    }
  }

  private static void deleteIfEmpty(Storage storage, String folder) throws IOException {
    if (storage.isFolder(folder) && storage.list(folder).isEmpty()) {
      storage.delete(folder);
    }
  }
}
