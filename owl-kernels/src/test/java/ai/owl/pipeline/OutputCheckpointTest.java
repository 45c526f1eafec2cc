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
import ai.owl.tensor.DType;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OutputCheckpointTest {
  private static final PruneOptions OPTIONS = PruneOptions.defaults("model", "out");
  private static final String INDEX = "out/model.safetensors.index.json";

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
    return OutputCheckpoint.begin(storage, options, input, model, "f00d");
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
    assertThat(storage.list("out")).doesNotContain("_owl");
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
    OutputCheckpoint output = OutputCheckpoint.begin(recording, OPTIONS, input, model, "f00d");
    output.commit(writeAll(output));
    assertThat(recording.written).startsWith("out/_owl/f00d.started").endsWith(INDEX);
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
    begin(OPTIONS).abort();
    assertThat(storage.files).isEqualTo(before);
    OutputCheckpoint output = begin(OPTIONS);
    writeAll(output);
    output.abort();
    output.abort();
    assertThat(storage.files).isEqualTo(before);
  }

  @Test
  void removesTheFolderItMadeWhenItIsAborted(@TempDir Path folder) throws IOException {
    LocalStorage local = new LocalStorage();
    String location = folder.resolve("out").toString();
    OutputCheckpoint output =
        OutputCheckpoint.begin(
            local, PruneOptions.defaults("model", location), input, model, "f00d");
    assertThat(folder.resolve("out/_owl/f00d.started")).exists();
    output.abort();
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void isNotUndoneOnceItIsCommitted() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    output.commit(writeAll(output));
    TreeMap<String, byte[]> committed = new TreeMap<>(storage.files);
    output.abort();
    assertThat(storage.files).isEqualTo(committed);
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
                  OutputCheckpoint.begin(
                      local,
                      PruneOptions.defaults(real.toString(), location).withOverwrite(true),
                      input,
                      model,
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
    OutputCheckpoint.begin(local, PruneOptions.defaults("model", location), input, model, "f00d");
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
            ".model-00001-of-00099.safetensors.5f3a.part",
            "model-of-mine.safetensors",
            "_owl/report.json",
            "_owl/0ld.started",
            "README.md")) {
      storage.writeAll("out/" + name, new byte[1]);
    }
    List<String> deleted = new ArrayList<>();
    Storage recording = new DeletionRecorder(storage, location -> deleted.add(location));
    OutputCheckpoint output =
        OutputCheckpoint.begin(recording, OPTIONS.withOverwrite(true), input, model, "f00d");
    assertThat(deleted).allMatch(location -> location.contains("_owl"));
    output.clear();
    assertThat(deleted.stream().filter(location -> !location.contains("_owl")))
        .startsWith(INDEX)
        .hasSize(5);
    assertThat(storage.list("out"))
        .containsExactlyInAnyOrder(
            "README.md", "_owl", "model-of-mine.safetensors", "tokens.safetensors");
    assertThat(storage.list("out/_owl")).containsExactly("f00d.started");
  }

  @Test
  void leavesWhatItWasToReplaceIfItIsAbortedBeforeThat() throws IOException {
    OutputCheckpoint first = begin(OPTIONS);
    first.commit(writeAll(first));
    storage.writeAll("out/README.md", new byte[3]);
    TreeMap<String, byte[]> before = new TreeMap<>(storage.files);
    begin(OPTIONS.withOverwrite(true)).abort();
    assertThat(storage.files).isEqualTo(before);
  }

  @Test
  void leavesFilesOfOthersWhenItIsAborted() throws IOException {
    storage.writeAll("model/README.md", new byte[1]);
    storage.writeAll("out/README.md", new byte[3]);
    input = Checkpoint.open(storage, "model");
    OutputCheckpoint output = begin(OPTIONS.withOverwrite(true));
    writeAll(output);
    output.abort();
    assertThat(storage.files.get("out/README.md")).hasSize(3);
    assertThat(storage.list("out")).containsExactly("README.md");
  }

  @Test
  void publishesNoShardOfARunThatIsOver() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    output.clear();
    output.abort();
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
    OutputCheckpoint second =
        OutputCheckpoint.begin(storage, OPTIONS.withOverwrite(true), input, model, "beef");
    assertThatThrownBy(() -> first.commit(receipts))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("another run");
    assertThatThrownBy(first::writeOutside).isInstanceOf(IOException.class);
    first.abort();
    assertNoCheckpoint();
    second.commit(writeAll(second));
    assertThat(Checkpoint.open(storage, "out").tensors()).hasSameSizeAs(input.tensors());
  }

  @Test
  void refusesAModelThatLiesInItsNotes() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                OutputCheckpoint.requireFree(
                    storage, PruneOptions.defaults("out/_owl/model", "out").withOverwrite(true)))
        .withMessageStartingWith("Cannot write to out: ")
        .withMessageContaining("out/_owl");
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
    assertThatThrownBy(() -> OutputCheckpoint.begin(full, OPTIONS, input, model, "f00d"))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("out/_owl/f00d.started");
    assertThat(storage.list("out")).isEmpty();
  }

  @Test
  void writesTheSameShardHoweverOftenItIsTried() throws IOException {
    OutputCheckpoint output = begin(OPTIONS);
    List<ShardReceipt> once = writeAll(output);
    TreeMap<String, byte[]> files = new TreeMap<>(storage.files);
    assertThat(writeAll(output)).isEqualTo(once);
    assertThat(storage.files.keySet()).isEqualTo(files.keySet());
    files.forEach((name, bytes) -> assertThat(storage.files.get(name)).isEqualTo(bytes));
    assertThat(new String(storage.files.get("model/generation_config.json"), UTF_8))
        .contains("do_sample");
  }
}
