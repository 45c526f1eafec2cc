package ai.owl.pipeline;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.ShardReceipt;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ModelLayout;
import ai.owl.model.SampleModel;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.tensor.DType;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OutputCheckpointTest {
  private static final PruneOptions OPTIONS = PruneOptions.defaults("model", "out");
  private static final String INDEX = "out/model.safetensors.index.json";

  private static final String LOCK = "out/_owl/lock.json";

  private final MemoryStorage storage = new MemoryStorage();
  private Checkpoint input;
  private ModelLayout model;

  @BeforeEach
  void writeModel() throws IOException {
    new SampleModel()
        .add("model.layers.0.self_attn.rotary_emb.inv_freq", 2)
        .add("model.layers.7.odd", DType.I64, 3)
        .as(DType.BF16)
        .write(storage, "model");
    storage.writeAll("model/tokenizer.json", new byte[] {0, 1, -1, 13, 10});
    storage.writeAll("model/LICENSE", new byte[0]);
    storage.writeAll("model/pytorch_model.bin", new byte[9]);
    storage.writeAll("model/original/params.json", new byte[9]);
    input = Checkpoint.open(storage, "model");
    model = ModelLayout.of(input);
  }

  private OutputCheckpoint begin(PruneOptions options) throws IOException {
    return begin(storage, options, "f00d");
  }

  private static final RunLock.Timing QUICK =
      new RunLock.Timing(Duration.ofMillis(100), Duration.ofMillis(400));

  private OutputCheckpoint begin(Storage storage, PruneOptions options, String fingerprint)
      throws IOException {
    return OutputCheckpoint.begin(
        storage, options, input, model, fingerprint, true, QUICK, Progress.NONE);
  }

  private List<ShardReceipt> writeAll(OutputCheckpoint output) throws IOException {
    output.clear();
    List<ShardReceipt> receipts = new ArrayList<>();
    try (TensorReader reader = new TensorReader(storage)) {
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          receipts.add(BlockShard.write(storage, output.blockShard(layout.index()), block));
        }
      }
    }
    receipts.add(output.writeOutside());
    return receipts;
  }

  @Test
  void writesAShardForEachBlockAndOneForAllElse() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> receipts = writeAll(output);
    assertThat(output.outsideShard().location()).isEqualTo("out/model-00001-of-00003.safetensors");
    assertThat(receipts)
        .extracting(ShardReceipt::file)
        .containsExactly(
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model-00001-of-00003.safetensors");
    assertThat(receipts.get(2).tensors())
        .containsExactly(
            "model.embed_tokens.weight",
            "model.norm.weight",
            "lm_head.weight",
            "model.layers.7.odd");
    assertThat(receipts.get(0).tensors())
        .contains("model.layers.0.self_attn.rotary_emb.inv_freq")
        .containsExactlyElementsOf(
            model.blocks().get(0).tensors().stream().map(TensorRef::name).toList());
  }

  @Test
  void isACheckpointOnceItIsCommitted() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> receipts = writeAll(output);
    assertNoCheckpoint();
    output.commit(receipts);
    Checkpoint committed = Checkpoint.open(storage, "out");
    assertThat(committed.tensors().keySet())
        .containsExactlyInAnyOrderElementsOf(input.tensors().keySet());
    for (TensorRef tensor : input.tensors().values()) {
      TensorRef copy = committed.tensor(tensor.name());
      assertThat(copy.type()).isEqualTo(tensor.type());
      assertThat(copy.shape()).isEqualTo(tensor.shape());
      assertThat(bytes(copy)).as(tensor.name()).isEqualTo(bytes(tensor));
    }
    output.close();
    assertThat(storage.list("out/_owl")).containsExactly("f00d");
  }

  private byte[] bytes(TensorRef tensor) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (TensorReader reader = new TensorReader(storage)) {
      reader.copy(tensor, bytes);
    }
    return bytes.toByteArray();
  }

  private void assertNoCheckpoint() {
    assertThatThrownBy(() -> Checkpoint.open(storage, "out"))
        .isInstanceOf(MalformedCheckpointException.class);
  }

  @Test
  void listsEveryTensorInTheIndex() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> receipts = writeAll(output);
    output.commit(receipts);
    JsonNode index = new ObjectMapper().readTree(storage.files.get(INDEX));
    assertThat(index.get("metadata").get("total_size").longValue())
        .isEqualTo(input.tensors().values().stream().mapToLong(TensorRef::bytes).sum());
    JsonNode map = index.get("weight_map");
    assertThat(map.size()).isEqualTo(input.tensors().size());
    for (ShardReceipt receipt : receipts) {
      receipt
          .tensors()
          .forEach(name -> assertThat(map.get(name).asText()).isEqualTo(receipt.file()));
    }
    List<String> names = new ArrayList<>();
    map.fieldNames().forEachRemaining(names::add);
    assertThat(names).isSorted();
  }

  @Test
  void copiesTheOtherFilesByteForByte() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    output.commit(writeAll(output));
    for (String name :
        List.of("config.json", "generation_config.json", "tokenizer.json", "LICENSE")) {
      assertThat(storage.files.get("out/" + name)).isEqualTo(storage.files.get("model/" + name));
    }
    assertThat(storage.list("out"))
        .containsExactlyInAnyOrder(
            "_owl",
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "LICENSE",
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json");
  }

  @Test
  void copiesFilesThatAreBiggerThanItsBuffer() throws IOException {
    byte[] large = new byte[(2 << 20) + 17];
    for (int i = 0; i < large.length; i++) {
      large[i] = (byte) (i * 31 >> 3);
    }
    storage.writeAll("model/tokenizer.model", large);
    input = Checkpoint.open(storage, "model");
    OutputCheckpoint output = begin(OPTIONS);
    output.commit(writeAll(output));
    assertThat(storage.files.get("out/tokenizer.model")).isEqualTo(large);
  }

  @Test
  void writesTheIndexLast() throws IOException {
    FailingStorage recording = new FailingStorage(storage, -1, FailingStorage.Point.CREATE);
    OutputCheckpoint output = begin(recording, OPTIONS, "f00d");
    output.commit(writeAll(output));
    assertThat(recording.written).startsWith(LOCK).endsWith(INDEX);
    assertThat(recording.written.get(1)).matches("out/_owl/.*\\.started");
    assertThat(recording.written).containsOnlyOnce(INDEX);
  }

  @Test
  void refusesToCommitWhileATensorIsMissing() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> receipts = writeAll(output);
    assertThatIllegalStateException()
        .isThrownBy(() -> output.commit(receipts.subList(1, 3)))
        .withMessage("Cannot commit out: 13 tensors were written, the input has 23");
    assertThat(storage.files).doesNotContainKey(INDEX).doesNotContainKey("out/config.json");
  }

  @Test
  void refusesToCommitATensorTwice() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> receipts = writeAll(output);
    receipts.add(receipts.get(0));
    assertThatIllegalStateException()
        .isThrownBy(() -> output.commit(receipts))
        .withMessageStartingWith("Cannot commit out: model.layers.0.")
        .withMessageEndingWith(" was written twice");
    assertThat(storage.files).doesNotContainKey(INDEX);
  }

  @Test
  void refusesToCommitATensorThatTheInputDoesNotHave() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> receipts = writeAll(output);
    receipts.add(new ShardReceipt("more.safetensors", 9, "", List.of("more"), 1));
    assertThatIllegalStateException().isThrownBy(() -> output.commit(receipts));
  }

  @Test
  void leavesNothingBehindWhenItIsAborted() throws IOException {
    TreeMap<String, byte[]> before = new TreeMap<>(storage.files);
    begin(OPTIONS).abort(false);
    assertThat(storage.files).isEqualTo(before);
    OutputCheckpoint output = begin(OPTIONS);
    writeAll(output);
    output.abort(false);
    output.abort(false);
    assertThat(storage.files).isEqualTo(before);
  }

  @Test
  void removesTheFolderItMadeWhenItIsAborted(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    String location = folder.resolve("out").toString();
    OutputCheckpoint output = begin(local, PruneOptions.defaults("model", location), "f00d");
    assertThat(folder.resolve("out/_owl/f00d/run.json")).exists();
    output.abort(false);
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void isNotUndoneOnceItIsCommitted() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    output.commit(writeAll(output));
    TreeMap<String, byte[]> committed = shards();
    output.abort(false);
    assertThat(shards()).isEqualTo(committed);
  }

  @Test
  void refusesToWriteOverItsInput() {
    for (String location : List.of("model", "model/", "model//", "file:model", "file://model")) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> begin(OPTIONS.withOutput(location).withOverwrite(true)))
          .withMessage(
              "Cannot write to "
                  + location
                  + ": it is the model that is to be pruned; give another --output");
    }
  }

  /** Whatever the folder is called; --overwrite would otherwise delete the model. */
  @Test
  void refusesToWriteOverItsInputByAnotherName(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    Path real = folder.resolve("model");
    new SampleModel().write(local, real.toString());
    Path link = Files.createSymbolicLink(folder.resolve("link"), real);
    Path relative = Path.of("").toAbsolutePath().relativize(real.toAbsolutePath());
    for (String location :
        List.of(
            folder + "/./model",
            folder + "//model",
            folder + "/model/../model/",
            "file:" + folder + "/./model",
            link.toString(),
            relative.toString())) {
      assertThatIllegalArgumentException()
          .isThrownBy(
              () ->
                  begin(
                      local,
                      PruneOptions.defaults(real.toString(), location).withOverwrite(true),
                      "f00d"))
          .withMessageContaining("it is the model that is to be pruned");
      assertThat(local.list(real.toString()))
          .containsExactly("config.json", "generation_config.json", "model.safetensors");
    }
  }

  @Test
  void refusesAFolderInWhichThereIsSomething() throws IOException {
    storage.writeAll("out/notes.txt", new byte[1]);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> begin(OPTIONS))
        .withMessage(
            "Cannot write to out: there is something in it; give --overwrite to replace it, or"
                + " another --output");
    assertThat(storage.list("out")).containsExactly("notes.txt");
  }

  @Test
  void takesAnEmptyFolder(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    String location = Files.createDirectory(folder.resolve("out")).toString();
    begin(local, PruneOptions.defaults("model", location), "f00d");
    assertThat(local.list(location)).containsExactly("_owl");
  }

  @Test
  void refusesAFile() throws IOException {
    storage.writeAll("out", new byte[1]);
    for (PruneOptions options : List.of(OPTIONS, OPTIONS.withOverwrite(true))) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> begin(options))
          .withMessage("Cannot write to out: it is a file; --output must be a folder");
    }
    assertThat(storage.files).containsKey("out");
  }

  @Test
  void overwritesACheckpointBeginningWithItsIndex() throws IOException {
    for (String name :
        List.of(
            "tokens.safetensors",
            "tokenizer.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "model-00001-of-00099.safetensors",
            ".model-00001-of-00099.safetensors.0f8fad5b-d9cb-469f-a165-70867728950e.part",
            "model-of-mine.safetensors",
            "_owl/report.json",
            "_owl/0ld.started",
            "README.md")) {
      storage.writeAll("out/" + name, new byte[1]);
    }
    List<String> deleted = new ArrayList<>();
    Storage recording = new DeletionRecorder(storage, location -> deleted.add(location));
    OutputCheckpoint output = begin(recording, OPTIONS.withOverwrite(true), "f00d");
    assertThat(deleted).allMatch(location -> location.contains("_owl"));
    output.clear();
    assertThat(deleted.stream().filter(location -> !location.contains("_owl")))
        .startsWith(INDEX)
        .hasSize(5);
    assertThat(storage.list("out"))
        .containsExactlyInAnyOrder(
            "README.md", "_owl", "model-of-mine.safetensors", "tokens.safetensors");
    assertThat(storage.list("out/_owl"))
        .hasSize(3)
        .contains("f00d", "lock.json")
        .anyMatch(name -> name.endsWith(".started") && !name.equals("0ld.started"));
  }

  @Test
  void leavesWhatItWasToReplaceIfItIsAbortedBeforeThat() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    first.commit(writeAll(first));
    first.close();
    storage.writeAll("out/README.md", new byte[3]);
    TreeMap<String, byte[]> before = shards();
    begin(OPTIONS.withOverwrite(true)).abort(false);
    assertThat(shards()).isEqualTo(before);
  }

  @Test
  void leavesFilesOfOthersWhenItIsAborted() throws IOException {
    storage.writeAll("model/README.md", new byte[1]);
    storage.writeAll("out/README.md", new byte[3]);
    input = Checkpoint.open(storage, "model");
    OutputCheckpoint output = begin(OPTIONS.withOverwrite(true));
    writeAll(output);
    output.abort(false);
    assertThat(storage.files.get("out/README.md")).hasSize(3);
    assertThat(storage.list("out")).containsExactly("README.md");
  }

  @Test
  void publishesNoShardOfARunThatIsOver() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    output.clear();
    output.abort(false);
    assertThatThrownBy(output::writeOutside)
        .isInstanceOf(IOException.class)
        .hasMessageContaining("model-00001-of-00003.safetensors")
        .hasMessageContaining("is over");
    assertThat(storage.list("out")).isEmpty();
  }

  @Test
  void givesWayToARunThatTakesItsFolder() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    List<ShardReceipt> receipts = writeAll(first);
    holdLockElsewhere(); // as if the first one's machine had stood still
    OutputCheckpoint second = begin(storage, OPTIONS.withOverwrite(true), "beef");
    assertThatThrownBy(() -> first.commit(receipts))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("another run");
    assertThatThrownBy(first::writeOutside).isInstanceOf(IOException.class);
    first.abort(false);
    assertNoCheckpoint();
    second.commit(writeAll(second));
    assertThat(Checkpoint.open(storage, "out").tensors()).hasSameSizeAs(input.tensors());
  }

  /** The lock of a run on another machine that gives no sign of life. */
  private void holdLockElsewhere() throws IOException {
    storage.writeAll(
        LOCK,
        """
        {"run": "other", "host": "elsewhere", "process": 7, "processStarted": 1,
         "started": "2026-01-01T00:00:00Z", "beat": "2026-01-01T01:00:00Z"}
        """
            .getBytes(UTF_8));
  }

  @Test
  void refusesAFolderWhereARunIsAtWork() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    TreeMap<String, byte[]> before = new TreeMap<>(storage.files);
    for (PruneOptions options : List.of(OPTIONS, OPTIONS.withOverwrite(true))) {
      for (String fingerprint : List.of("f00d", "beef")) {
        assertThatIllegalArgumentException()
            .isThrownBy(() -> begin(storage, options, fingerprint))
            .withMessageStartingWith("Cannot write to out: another run is at work there (process ")
            .withMessageEndingWith("); wait for it, end it, or give another --output");
      }
    }
    assertThat(storage.files.keySet()).isEqualTo(before.keySet());
    first.commit(writeAll(first));
    first.close();
    assertThat(storage.files).doesNotContainKey(LOCK);
  }

  @Test
  void takesOverTheLockOfARunThatIsDead() throws IOException {
    begin(OPTIONS); // its heart goes on beating, but only while the lock is its own
    holdLockElsewhere();
    List<String> told = new ArrayList<>();
    Progress progress = telling(told);
    OutputCheckpoint second =
        OutputCheckpoint.begin(storage, OPTIONS, input, model, "f00d", true, QUICK, progress);
    assertThat(told.get(0)).startsWith("another run may be at work in out (process 7 on elsewhere");
    assertThat(told.get(1)).startsWith("taking over out from a run that is dead (process 7 on");
    second.commit(writeAll(second));
    assertThat(Checkpoint.open(storage, "out").tensors()).hasSameSizeAs(input.tensors());
  }

  static Progress telling(List<String> told) {
    return new Told(told, told);
  }

  /** A clock that is wrong must not make a run look dead. */
  @Test
  void givesWayToARunOnAnotherMachineThatIsAlive() throws Exception {
    holdLockElsewhere();
    String beat = new String(storage.files.get(LOCK), UTF_8);
    Thread other =
        new Thread(
            () -> {
              for (int i = 10; i < 60; i++) {
                String next = beat.replace("T01:00:00Z", "T01:00:" + i + "Z");
                try {
                  storage.writeAll(LOCK, next.getBytes(UTF_8));
                  Thread.sleep(20);
                } catch (IOException | InterruptedException e) {
                  return;
                }
              }
            });
    other.start();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> begin(OPTIONS))
        .withMessageStartingWith("Cannot write to out: another run is at work there (process 7 on");
    other.interrupt();
    other.join();
    assertThat(storage.files.get(LOCK)).asString(UTF_8).contains("elsewhere");
  }

  /** A full disk leaves such; a run of which nothing is known may still be at work. */
  @Test
  void takesALockThatNobodyCanReadOnceItIsOld() throws IOException {
    for (String lock : List.of("", "{\"run", "[]", "{}", "7", "x".repeat(100_000))) {
      for (PruneOptions options : List.of(OPTIONS, OPTIONS.withOverwrite(true))) {
        storage.writeAll(LOCK, lock.getBytes(UTF_8));
        assertThat(RunStatus.of(storage, "out").holder().orElseThrow())
            .startsWith("unknown: _owl/lock.json cannot be read");
        List<String> told = new ArrayList<>();
        long before = System.nanoTime();
        OutputCheckpoint.begin(storage, options, input, model, "f00d", true, QUICK, telling(told))
            .close();
        assertThat(Duration.ofNanos(System.nanoTime() - before))
            .isGreaterThanOrEqualTo(QUICK.lease());
        assertThat(told)
            .containsExactly(
                "another run may be at work in out (its lock cannot be read): waiting up to 0 s for"
                    + " a sign of life",
                "taking over out: its lock, out/_owl/lock.json, cannot be read, and nobody writes"
                    + " it");
        assertThat(storage.files).doesNotContainKey(LOCK);
        storage.delete("out");
      }
    }
  }

  @Test
  void givesWayToARunWhoseLockComesToBeReadable() throws Exception {
    storage.writeAll(LOCK, new byte[0]);
    Thread other =
        new Thread(
            () -> {
              try {
                Thread.sleep(100);
                holdLockElsewhere();
              } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
              }
            });
    other.start();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> begin(OPTIONS))
        .withMessageStartingWith("Cannot write to out: another run is at work there (process 7 on");
    other.join();
  }

  /** Somebody's folder, or a broken tool's. */
  @Test
  void takesALockThatIsAFolder(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    String location = folder.resolve("out").toString();
    local.writeAll(location + "/_owl/lock.json/x", new byte[1]);
    OutputCheckpoint output = begin(local, PruneOptions.defaults("model", location), "f00d");
    assertThat(folder.resolve("out/_owl/lock.json")).isRegularFile();
    output.abort(false);
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void givesSignsOfLife() throws Exception {
    OutputCheckpoint output = begin(OPTIONS);
    byte[] first = storage.files.get(LOCK);
    for (int i = 0; i < 100 && Arrays.equals(storage.files.get(LOCK), first); i++) {
      Thread.sleep(50);
    }
    assertThat(storage.files.get(LOCK)).isNotEqualTo(first);
    output.close();
    assertThat(storage.files).doesNotContainKey(LOCK);
    Thread.sleep(250); // two beats
    assertThat(storage.files).doesNotContainKey(LOCK);
  }

  /** Writes all shards with their records, but for some, as tasks do. */
  private void writeSome(OutputCheckpoint output, int... blocks) throws IOException {
    output.clear();
    try (TensorReader reader = new TensorReader(storage)) {
      for (int index : blocks) {
        BlockLayout layout = model.blocks().get(index);
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          OutputShard shard = output.blockShard(index);
          shard.finish(
              storage,
              BlockShard.write(storage, shard, block),
              List.of(new PrunedLinear("layer " + index, 0.1 + 0.2, 7, 3, List.of("a \"note\""))));
        }
      }
    }
  }

  @Test
  void goesOnWithWhatWasFinished() throws IOException {
    OutputCheckpoint whole = begin(OPTIONS);
    whole.commit(writeAll(whole));
    whole.abort(false);
    TreeMap<String, byte[]> expected = shards();
    storage.delete("out");

    OutputCheckpoint first = begin(OPTIONS);
    writeSome(first, 1);
    assertThat(first.abort(true)).isTrue();
    assertNoCheckpoint();

    OutputCheckpoint second = begin(OPTIONS);
    assertThat(second.isCommitted()).isFalse();
    assertThat(second.finishedOutside()).isEmpty();
    assertThat(second.finishedBlocks()).containsOnlyKeys(1);
    FinishedShard known = second.finishedBlocks().get(1);
    assertThat(known.linears())
        .containsExactly(new PrunedLinear("layer 1", 0.1 + 0.2, 7, 3, List.of("a \"note\"")));
    assertThat(known.receipt().tensors())
        .isEqualTo(model.blocks().get(1).tensors().stream().map(TensorRef::name).toList());
    byte[] kept = storage.files.get("out/model-00003-of-00003.safetensors");
    writeSome(second, 0);
    assertThat(storage.files.get("out/model-00003-of-00003.safetensors")).isSameAs(kept);
    List<ShardReceipt> receipts = new ArrayList<>(List.of(known.receipt(), second.writeOutside()));
    receipts.add(FinishedShard.read(storage, record(2), shard(2)).orElseThrow().receipt());
    second.commit(receipts);
    second.close();
    assertThat(shards().keySet()).isEqualTo(expected.keySet());
    expected.forEach((name, bytes) -> assertThat(storage.files.get(name)).isEqualTo(bytes));
  }

  private String shard(int number) {
    return "out/model-0000" + number + "-of-00003.safetensors";
  }

  private String record(int number) {
    return "out/_owl/f00d/shards/model-0000" + number + "-of-00003.safetensors.json";
  }

  private TreeMap<String, byte[]> shards() {
    TreeMap<String, byte[]> files = new TreeMap<>(storage.files);
    files.keySet().removeIf(name -> !name.startsWith("out/") || name.startsWith("out/_owl"));
    return files;
  }

  @Test
  void trustsNoRecordOfAShardThatIsNotThere() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    writeSome(first, 0, 1);
    first.abort(true);
    storage.delete(shard(2));
    storage.writeAll(shard(3), new byte[9]);
    assertThat(begin(OPTIONS).finishedBlocks()).isEmpty();
  }

  @Test
  void trustsNoRecordThatIsCutOff() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    writeSome(first, 0, 1);
    first.abort(true);
    storage.writeAll(record(2), Arrays.copyOf(storage.files.get(record(2)), 40));
    assertThat(begin(OPTIONS).finishedBlocks()).containsOnlyKeys(1);
  }

  @Test
  void trustsNoRecordOfSomethingElse() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    writeSome(first, 0, 1);
    first.abort(true);
    byte[] good = storage.files.get(record(2));
    String text = new String(good, UTF_8);
    for (String bad :
        List.of(
            "",
            "[]",
            text.replaceFirst("\"model.layers[^,]*,", ""),
            text.replace("-00002-of-", "-00007-of-"))) {
      storage.writeAll(record(2), bad.getBytes(UTF_8));
      OutputCheckpoint output = begin(OPTIONS);
      assertThat(output.finishedBlocks()).containsOnlyKeys(1);
      output.abort(true);
    }
    storage.files.remove(record(2));
    storage.writeAll(record(2) + "/x", good);
    assertThat(begin(OPTIONS).finishedBlocks()).containsOnlyKeys(1);
  }

  /** None of it is worth a question. */
  @Test
  void takesAFolderInWhichARunWasKilledEarly() throws IOException {
    String id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    List<String> left =
        List.of(
            "out/_owl/.lock.json." + id + ".part",
            "out/_owl/" + id + ".probe",
            "out/_owl/" + id + ".started",
            "out/_owl/f00d/.run.json." + id + ".part",
            "out/_owl/beef/.run.json." + id + ".part",
            "out/_owl/cafe/shards/model-00001-of-00003.safetensors.json", // half deleted
            "out/.model-00001-of-00003.safetensors." + id + ".part");
    for (String file : left) {
      storage.writeAll(file, new byte[1]);
      OutputCheckpoint.requireFree(storage, OPTIONS);
    }
    OutputCheckpoint output = begin(OPTIONS);
    output.commit(writeAll(output));
    output.close();
    assertThat(storage.files).doesNotContainKeys(left.toArray(String[]::new));
    assertThat(storage.list("out/_owl")).containsExactly("f00d");
    storage.delete("out");
    storage.writeAll("out/_owl/cafe/thesis.txt", new byte[1]);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> begin(OPTIONS))
        .withMessageContaining("there is something in it");
  }

  @Test
  void leavesWhatOthersKeepAmongItsNotes() throws IOException {
    storage.writeAll("out/_owl/calibration.safetensors", new byte[1]);
    storage.writeAll("out/_owl/cafe/thesis.txt", new byte[1]);
    storage.writeAll("out/_owl/beef/run.json", new byte[1]);
    OutputCheckpoint output = begin(OPTIONS.withOverwrite(true));
    output.commit(writeAll(output));
    output.close();
    assertThat(storage.list("out/_owl")).containsExactly("cafe", "calibration.safetensors", "f00d");
  }

  @Test
  void clearsUpAfterARunThatWasKilledWhenItHadCommitted() throws IOException {
    commitWithRecords();
    storage.writeAll("out/_owl/f00d/parts/q.safetensors", new byte[9]);
    storage.writeAll("out/_owl/f00d/passes/pruned/before-block-00008/complete", new byte[0]);
    OutputCheckpoint again = begin(OPTIONS);
    assertThat(again.isCommitted()).isTrue();
    assertThat(storage.list("out/_owl/f00d")).containsExactly("run.json", "shards");
    again.close();
  }

  @Test
  void publishesAnewWhatIsDamagedBesideTheShards() throws IOException {
    commitWithRecords();
    TreeMap<String, byte[]> expected = shards();
    byte[] config = storage.files.get("out/config.json");
    byte[] other = config.clone();
    other[other.length - 1]++;
    List<Runnable> damages =
        List.of(
            () -> storage.files.remove("out/config.json"),
            () -> storage.files.put("out/config.json", other),
            () -> storage.files.put("out/tokenizer.json", new byte[0]),
            () -> storage.files.remove("out/LICENSE"),
            () -> storage.files.put(INDEX, new byte[0]),
            () -> storage.files.put(INDEX, "{}".getBytes(UTF_8)),
            () -> storage.files.remove(INDEX));
    for (Runnable damage : damages) {
      damage.run();
      List<String> told = new ArrayList<>();
      OutputCheckpoint output =
          OutputCheckpoint.begin(
              storage, OPTIONS, input, model, "f00d", true, QUICK, telling(told));
      assertThat(output.isCommitted()).isFalse();
      assertThat(output.finishedBlocks()).hasSize(2);
      assertThat(told).hasSize(storage.files.containsKey(INDEX) ? 1 : 0);
      output.clear();
      output.commit(receipts());
      output.close();
      assertThat(shards().keySet()).isEqualTo(expected.keySet());
      expected.forEach((name, bytes) -> assertThat(storage.files.get(name)).isEqualTo(bytes));
      OutputCheckpoint again = begin(OPTIONS);
      assertThat(again.isCommitted()).isTrue();
      again.close();
    }
  }

  @Test
  void makesADamagedCheckpointAgainIfItIsToldToOverwrite() throws IOException {
    commitWithRecords();
    storage.files.put(INDEX, new byte[0]);
    OutputCheckpoint output = begin(OPTIONS.withOverwrite(true));
    assertThat(output.isCommitted()).isFalse();
    assertThat(output.finishedBlocks()).isEmpty();
    output.abort(true);
  }

  /** Its shards took hours. */
  @Test
  void keepsTheShardsOfWhatItWasToPublishAnew() throws IOException {
    commitWithRecords();
    storage.files.put(INDEX, new byte[0]);
    OutputCheckpoint output = begin(OPTIONS);
    output.clear();
    output.abort(false); // because of the model, which was damaged since
    assertThat(begin(OPTIONS).finishedBlocks()).hasSize(2);
  }

  @Test
  void callsNoCheckpointWholeThatNobodyCanOpen() throws IOException {
    commitWithRecords();
    assertThat(RunStatus.of(storage, "out").isDone()).as("without a report").isFalse();
    new RunFolder(storage, "out", "f00d", Progress.NONE).finish();
    TreeMap<String, byte[]> whole = new TreeMap<>(storage.files);
    assertThat(RunStatus.of(storage, "out").isDone()).isTrue();
    for (String content : List.of("", "[]", "{}", "{\"weight_map\": {}}", "{\"weight_map\"")) {
      storage.writeAll(INDEX, content.getBytes(UTF_8));
      assertThat(RunStatus.of(storage, "out").whole()).as(content).isFalse();
    }
    storage.files.putAll(whole);
    for (String name : List.of(shard(2), "out/config.json", INDEX)) {
      storage.files.remove(name);
      assertThat(RunStatus.of(storage, "out").whole()).as(name).isFalse();
      assertThat(RunStatus.of(storage, "out").isDone()).isFalse();
      storage.files.putAll(whole);
    }
  }

  @Test
  void inventsNothingOfARunWhoseDescriptionCannotBeRead() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    writeSome(first, 0);
    first.abort(true);
    String run = "out/_owl/f00d/run.json";
    byte[] whole = storage.files.get(run);
    for (byte[] content :
        List.of(
            new byte[0],
            Arrays.copyOf(whole, 40),
            "[]".getBytes(UTF_8),
            "{}".getBytes(UTF_8),
            new byte[2 << 20])) {
      storage.writeAll(run, content);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> begin(OPTIONS))
          .withMessage(
              "Cannot write to out: a run was broken off there, but out/_owl/f00d/run.json, its"
                  + " description, cannot be read; give --overwrite to replace it, or another"
                  + " --output");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> RunStatus.of(storage, "out"))
          .withMessage(
              "Cannot tell the status of out: a run has left something there, but"
                  + " out/_owl/f00d/run.json, its description, cannot be read; give owl prune"
                  + " --overwrite to replace it");
    }
    begin(OPTIONS.withOverwrite(true)).close();
    assertThat(RunStatus.of(storage, "out").runs()).hasSize(1);
  }

  private void commitWithRecords() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    writeSome(output, 0, 1);
    OutputShard outside = output.outsideShard();
    outside.finish(storage, output.writeOutside(), List.of());
    output.commit(receipts());
    output.close();
  }

  private List<ShardReceipt> receipts() throws IOException {
    List<ShardReceipt> receipts = new ArrayList<>();
    for (int number = 1; number <= 3; number++) {
      receipts.add(
          FinishedShard.read(storage, record(number), shard(number)).orElseThrow().receipt());
    }
    return receipts;
  }

  @Test
  void knowsThatItIsCommitted() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    writeSome(first, 0, 1);
    OutputShard outside = first.outsideShard();
    outside.finish(storage, first.writeOutside(), List.of());
    List<ShardReceipt> receipts = new ArrayList<>();
    for (int number = 1; number <= 3; number++) {
      receipts.add(
          FinishedShard.read(storage, record(number), shard(number)).orElseThrow().receipt());
    }
    first.commit(receipts);
    first.abort(true); // killed while it measured what it had made
    TreeMap<String, byte[]> before = shards();
    OutputCheckpoint second = begin(OPTIONS);
    assertThat(second.isCommitted()).isTrue();
    second.close();
    OutputCheckpoint again = begin(OPTIONS.withOverwrite(true));
    assertThat(again.isCommitted()).isFalse();
    assertThat(again.finishedBlocks()).isEmpty();
    again.abort(true);
    assertThat(shards()).isEqualTo(before); // it had not begun to write
  }

  @Test
  void refusesToGoOnWithAnotherRun() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    writeSome(first, 0);
    first.abort(true);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> begin(OPTIONS.withSparsity(0.6)))
        .withMessage(
            "Cannot write to out: a run with other options was broken off there (sparsity 0.7, not"
                + " 0.6); give its options to go on with it, --overwrite to replace it, or another"
                + " --output");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> begin(storage, OPTIONS, "beef"))
        .withMessageStartingWith(
            "Cannot write to out: a run of another model or with other calibration tokens was");
    OutputCheckpoint other = begin(storage, OPTIONS.withOverwrite(true), "beef");
    other.commit(writeAll(other));
    other.close();
    assertThat(storage.list("out/_owl")).containsExactly("beef");
  }

  /** It was told to overwrite, was broken off before that, and is not told to any more. */
  @Test
  void replacesNothingThatItIsNotToldTo() throws IOException {
    OutputCheckpoint old = begin(storage, OPTIONS.withSparsity(0.5), "01d");
    old.commit(writeAll(old));
    old.close();
    OutputCheckpoint first = begin(OPTIONS.withOverwrite(true));
    first.run().results().write("something", "kept");
    first.abort(true);
    TreeMap<String, byte[]> before = new TreeMap<>(storage.files);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> begin(OPTIONS))
        .withMessageContaining("give --overwrite to replace it");
    assertThat(storage.files.keySet()).isEqualTo(before.keySet());
    OutputCheckpoint second = begin(OPTIONS.withOverwrite(true));
    assertThat(second.run().results().read("something", String.class)).contains("kept");
  }

  @Test
  void leavesLargeThingsNoLongerThanTheyAreNeeded() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    storage.writeAll("out/_owl/f00d/parts/q.safetensors", new byte[9]);
    storage.writeAll("out/_owl/f00d/passes/pruned/before-block-00008/complete", new byte[0]);
    List<ShardReceipt> receipts = writeAll(output);
    assertThat(storage.list("out/_owl/f00d")).containsExactly("parts", "passes", "run.json");
    output.commit(receipts);
    output.close();
    assertThat(storage.list("out/_owl/f00d")).containsExactly("run.json");
    assertThat(storage.list("out/_owl")).containsExactly("f00d");
  }

  @Test
  void refusesAModelThatLiesInItsNotes() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                OutputCheckpoint.requireFree(
                    storage, PruneOptions.defaults("out/_owl/model", "out").withOverwrite(true)))
        .withMessage(
            "Cannot write to out: the model that is to be pruned lies in out/_owl, where the run"
                + " keeps its notes; give another --output");
  }

  /** Whatever it is called: all of it would be deleted. */
  @Test
  void refusesAModelThatItWouldDelete(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    Path out = folder.resolve("out");
    new SampleModel().write(local, out.resolve("_owl/m").toString());
    new SampleModel().write(local, out.resolve("vocab.json").toString());
    new SampleModel().write(local, out.resolve("kept").toString());
    Files.createSymbolicLink(folder.resolve("link"), out);
    Files.createSymbolicLink(folder.resolve("notes"), out.resolve("_owl"));
    Path relative = Path.of("").toAbsolutePath().relativize(out.toAbsolutePath());
    for (String model :
        List.of(
            out + "/_owl/m",
            out + "/./_owl//m/",
            folder + "/link/_owl/m",
            folder + "/notes/m",
            folder + "/x/../notes/m",
            "file://" + out + "/_owl/m",
            relative + "/_owl/m",
            out + "/vocab.json")) {
      for (String output : List.of(out.toString(), folder + "/link", relative.toString())) {
        assertThatIllegalArgumentException()
            .as(model)
            .isThrownBy(
                () ->
                    OutputCheckpoint.requireFree(
                        local, PruneOptions.defaults(model, output).withOverwrite(true)))
            .withMessageStartingWith(
                "Cannot write to " + output + ": the model that is to be pruned lies in " + output)
            .withMessageEndingWith("; give another --output");
      }
    }
    OutputCheckpoint.requireFree(
        local, PruneOptions.defaults(out + "/kept", out.toString()).withOverwrite(true));
  }

  /** As in a cache of downloads, where a model is a folder of links. */
  @Test
  void refusesAModelWhoseFilesLieWhereItDeletes(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    Path out = folder.resolve("out");
    new SampleModel().write(local, out.resolve("_owl/m").toString());
    Path links = Files.createDirectory(folder.resolve("links"));
    for (String name : local.list(out + "/_owl/m")) {
      Files.createSymbolicLink(links.resolve(name), out.resolve("_owl/m").resolve(name));
    }
    input = Checkpoint.open(local, links.toString());
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                begin(
                    local,
                    PruneOptions.defaults(links.toString(), out.toString()).withOverwrite(true),
                    "f00d"))
        .withMessageStartingWith("Cannot write to " + out + ": " + links)
        .withMessageContaining("lies in " + out + "/_owl, where the run keeps its notes");
    assertThat(local.list(out + "/_owl")).containsExactly("m");
  }

  /** Tells of every deletion before it happens. */
  private record DeletionRecorder(Storage storage, java.util.function.Consumer<String> listener)
      implements Storage {
    @Override
    public Reader open(String location) throws IOException {
      return storage.open(location);
    }

    @Override
    public FileStream create(String location) throws IOException {
      return storage.create(location);
    }

    @Override
    public List<String> list(String folder) throws IOException {
      return storage.list(folder);
    }

    @Override
    public boolean exists(String location) throws IOException {
      return storage.exists(location);
    }

    @Override
    public boolean isFolder(String location) throws IOException {
      return storage.isFolder(location);
    }

    @Override
    public void delete(String location) throws IOException {
      listener.accept(location);
      storage.delete(location);
    }
  }

  @Test
  void findsOutEarlyThatItCannotWrite() {
    FailingStorage full = new FailingStorage(storage, 0, FailingStorage.Point.CREATE);
    assertThatThrownBy(() -> begin(full, OPTIONS, "f00d"))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("out/_owl/lock.json");
    assertThat(storage.list("out")).isEmpty();
  }

  @Test
  void writesTheSameShardHoweverOftenItIsTried() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> once = writeAll(output);
    TreeMap<String, byte[]> files = shards();
    assertThat(writeAll(output)).isEqualTo(once);
    assertThat(shards().keySet()).isEqualTo(files.keySet());
    files.forEach((name, bytes) -> assertThat(storage.files.get(name)).isEqualTo(bytes));
    assertThat(new String(storage.files.get("model/generation_config.json"), UTF_8))
        .contains("do_sample");
  }
}
