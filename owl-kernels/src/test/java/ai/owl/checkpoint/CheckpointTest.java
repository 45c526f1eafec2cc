package ai.owl.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.SafetensorsWriter.Entry;
import ai.owl.tensor.DType;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointTest {
  private static final String CONFIG = "{\"model_type\": \"llama\", \"hidden_size\": 64}";
  private static final String INDEX = "model.safetensors.index.json";

  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void opensASingleFile() throws IOException {
    text("config.json", CONFIG);
    weights("model.safetensors", "b", "a");

    Checkpoint checkpoint = open();
    assertThat(checkpoint.folder()).isEqualTo("m");
    assertThat(checkpoint.storage()).isSameAs(storage);
    assertThat(checkpoint.config().get("hidden_size").asInt()).isEqualTo(64);
    assertThat(checkpoint.tensors()).containsOnlyKeys("b", "a");
    assertThat(checkpoint.tensors().keySet()).containsExactly("b", "a");
    assertThat(checkpoint.tensor("a").file()).isEqualTo("m/model.safetensors");
  }

  @Test
  void opensShardsInOrderOfTheirNames() throws IOException {
    twoShards();
    Checkpoint checkpoint = open();
    assertThat(checkpoint.tensors().keySet()).containsExactly("z", "y", "b", "a");
    assertThat(checkpoint.tensor("b").file()).isEqualTo("m/model-00002-of-00002.safetensors");
  }

  @Test
  void prefersTheSingleFileToTheIndex() throws IOException {
    twoShards();
    weights("model.safetensors", "alone");
    assertThat(open().tensors()).containsOnlyKeys("alone");
  }

  @Test
  void readsNoWeights() throws IOException {
    twoShards();
    Checkpoint checkpoint = open();
    Map<String, Long> starts = new HashMap<>();
    for (TensorRef tensor : checkpoint.tensors().values()) {
      starts.merge(tensor.file(), tensor.position(), Math::min);
    }
    assertThat(storage.reads)
        .allMatch(
            read ->
                read.position() + read.length()
                    <= starts.getOrDefault(read.location(), Long.MAX_VALUE));
    assertThat(storage.closed).isEqualTo(storage.opened);
  }

  @Test
  void handsOutAFreshConfigurationEachTime() throws IOException {
    single();
    Checkpoint checkpoint = open();
    ((ObjectNode) checkpoint.config()).removeAll();
    assertThat(checkpoint.config().has("model_type")).isTrue();
  }

  @Test
  void readsWhatPythonWritesIntoConfigurations() throws IOException {
    single();
    text("config.json", "{\"limit\": [0.0, Infinity], \"x\": NaN}");
    assertThat(open().config().get("limit").get(1).doubleValue()).isInfinite();
  }

  @Test
  void listsTheFilesThatBelongToTheModelBesideItsWeights() throws IOException {
    single();
    for (String sidecar :
        List.of(
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "tokenizer.model",
            "special_tokens_map.json",
            "chat_template.jinja",
            "LICENSE",
            "README.md")) {
      text(sidecar, "x");
    }
    for (String other :
        List.of(
            ".gitattributes",
            "model.safetensors.index.json",
            "consolidated.safetensors",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
            "consolidated.00.pth",
            "x.pt",
            "x.GGUF",
            "model.onnx",
            "tf_model.h5",
            "flax_model.msgpack",
            "original/params.json",
            "_owl/fingerprint/receipt")) {
      text(other, "{}");
    }
    assertThat(open().sidecars())
        .containsExactly(
            "LICENSE",
            "README.md",
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json");
  }

  @Test
  void travelsToOtherMachines(@TempDir Path folder) throws Exception {
    single();
    for (String name : List.of("config.json", "model.safetensors")) {
      Files.write(folder.resolve(name), storage.files.get("m/" + name));
    }
    Checkpoint checkpoint = Checkpoint.open(new LocalStorage(), folder.toString());
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(checkpoint);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      Checkpoint copy = (Checkpoint) in.readObject();
      assertThat(copy.tensors()).isEqualTo(checkpoint.tensors());
      assertThat(copy.config()).isEqualTo(checkpoint.config());
      assertThat(copy.indexDigest()).isEqualTo(checkpoint.indexDigest());
      assertThat(copy.sidecars()).isEqualTo(checkpoint.sidecars());
      try (TensorReader reader = new TensorReader(copy.storage())) {
        assertThat(reader.readVector(copy.tensor("w"))).containsExactly(0f);
      }
    }
  }

  @Test
  void hasADigestOfItsIdentity() throws IOException {
    twoShards();
    String digest = open().indexDigest();
    assertThat(digest).matches("[0-9a-f]{64}").isEqualTo(open().indexDigest());

    text("tokenizer.json", "{}");
    assertThat(open().indexDigest()).isEqualTo(digest);

    text("config.json", CONFIG.replace("64", "65"));
    assertThat(open().indexDigest()).isNotEqualTo(digest);

    twoShards();
    assertThat(open().indexDigest()).isEqualTo(digest);
    storage.files.put(
        "m/model-00001-of-00002.safetensors",
        MemoryStorage.safetensors(
            """
            {"z":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
            "y":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""",
            4));
    assertThat(open().indexDigest()).isNotEqualTo(digest);
  }

  @Test
  void tellsWeightsApartThatHaveTheSameHeaders() throws IOException {
    twoShards();
    String headers = open().indexDigest();
    String digest = open().digest();
    assertThat(digest).matches("[0-9a-f]{64}").isEqualTo(open().digest()).isNotEqualTo(headers);
    String file = "m/model-00001-of-00002.safetensors";
    byte[] other = storage.files.get(file).clone();
    other[other.length - 1] ^= 1;
    storage.files.put(file, other);
    assertThat(open().indexDigest()).isEqualTo(headers);
    assertThat(open().digest()).isNotEqualTo(digest);
  }

  @Test
  void namesATensorThatIsNotThere() throws IOException {
    single();
    Checkpoint checkpoint = open();
    assertThatThrownBy(() -> checkpoint.tensor("lm_head.weight"))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageStartingWith("Cannot find tensor lm_head.weight in m");
  }

  @Test
  void refusesAFolderThatIsNotThere() {
    refuses("Cannot open model m: there is no such folder");
  }

  @Test
  void refusesAFileInPlaceOfAFolder(@TempDir Path folder) throws IOException {
    Path file = Files.createFile(folder.resolve("model.safetensors"));
    assertThatThrownBy(() -> Checkpoint.open(new LocalStorage(), file.toString()))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining("it is a file; expected a folder");
  }

  @Test
  void refusesAFolderWithoutConfiguration() throws IOException {
    weights("model.safetensors", "w");
    refuses("Cannot open model m: there is no config.json in it");
  }

  @Test
  void refusesConfigurationThatIsNotAnObject() throws IOException {
    single();
    text("config.json", "[1]");
    refuses("Cannot read m/config.json: expected a JSON object, found an array");
    text("config.json", "");
    refuses("Cannot read m/config.json: expected a JSON object, found nothing");
    text("config.json", "{\"a\": }");
    refuses("Cannot read m/config.json: it is not valid JSON");
    text("config.json", "{} {}");
    refuses("Cannot read m/config.json: it is not valid JSON");
    text("config.json", "{\"a\": 1, \"a\": 2}");
    refuses("Cannot read m/config.json: it is not valid JSON: Duplicate field 'a'");
    text("config.json", "{\"a\":" + "[".repeat(100_000));
    refuses("Cannot read m/config.json: it is not valid JSON");
    storage.files.put("m/config.json", new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'});
    refuses("Cannot read m/config.json: it is not UTF-8");
  }

  @Test
  void refusesAFolderWithoutWeights() throws IOException {
    text("config.json", CONFIG);
    refuses("there is neither model.safetensors nor model.safetensors.index.json in it");
  }

  @Test
  void tellsWhatToDoWithPickledWeights() throws IOException {
    text("config.json", CONFIG);
    text("pytorch_model-00001-of-00002.bin", "x");
    refuses("pytorch_model*.bin files, which must be saved as safetensors first");
  }

  @Test
  void refusesIndexWithoutWeightMap() throws IOException {
    twoShards();
    text(INDEX, "{\"metadata\": {}}");
    refuses("Cannot read m/" + INDEX + ": expected an object weight_map, there is none");
    text(INDEX, "{\"weight_map\": []}");
    refuses("expected an object weight_map, found an array");
    text(INDEX, "[]");
    refuses("expected a JSON object, found an array");
  }

  @Test
  void refusesIndexThatNamesATensorTwice() throws IOException {
    twoShards();
    text(INDEX, "{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"y.safetensors\"}}");
    refuses("Duplicate field 'a'");
  }

  @Test
  void refusesFileNamesThatAreNotPlain() throws IOException {
    twoShards();
    for (String name :
        List.of(
            "../x.safetensors",
            "a/b.safetensors",
            "/etc/x.safetensors",
            "a\\\\b.safetensors",
            "..",
            "..safetensors",
            ".hidden.safetensors",
            "..%2Fx.safetensors",
            "x.safetensors?",
            "x#y.safetensors",
            "x\\u0000.safetensors",
            "s3:x.safetensors",
            "x.bin",
            ".safetensors",
            "")) {
      text(INDEX, "{\"weight_map\": {\"q\": \"" + name + "\"}}");
      refuses("weight_map should give the plain name of a .safetensors file for tensor 'q', found");
    }
    for (String value : List.of("1", "null", "{}", "[\"x.safetensors\"]")) {
      text(INDEX, "{\"weight_map\": {\"q\": " + value + "}}");
      refuses("weight_map should give the plain name of a .safetensors file for tensor 'q', found");
    }
  }

  @Test
  void refusesIndexThatNamesAMissingFile() throws IOException {
    twoShards();
    storage.delete("m/model-00002-of-00002.safetensors");
    refuses(INDEX + " names model-00002-of-00002.safetensors, which is not there");
  }

  @Test
  void refusesTensorThatIsNotInItsFile() throws IOException {
    twoShards();
    weights("model-00002-of-00002.safetensors", "b");
    refuses(INDEX + " says that tensor 'a' is in model-00002-of-00002.safetensors, but it is not");
  }

  @Test
  void refusesTensorThatIsInAnotherFile() throws IOException {
    twoShards();
    weights("model-00001-of-00002.safetensors", "z", "y", "a");
    weights("model-00002-of-00002.safetensors", "b");
    refuses(
        "tensor 'a' is in model-00001-of-00002.safetensors, but "
            + INDEX
            + " says it is in model-00002-of-00002.safetensors");
  }

  @Test
  void refusesTensorThatIsInTwoFiles() throws IOException {
    twoShards();
    weights("model-00002-of-00002.safetensors", "b", "a", "z");
    refuses(
        "tensor 'z' is both in model-00001-of-00002.safetensors"
            + " and in model-00002-of-00002.safetensors");
  }

  @Test
  void refusesTensorThatTheIndexDoesNotList() throws IOException {
    twoShards();
    weights("model-00002-of-00002.safetensors", "b", "a", "extra");
    refuses(
        "tensor 'extra' is in model-00002-of-00002.safetensors, but "
            + INDEX
            + " does not list it");
  }

  @Test
  void refusesWeightFilesWithoutTensors() throws IOException {
    single();
    weights("model.safetensors");
    refuses("its weight files hold no tensor");
    storage.delete("m/model.safetensors");
    text(INDEX, "{\"weight_map\": {}}");
    refuses("its weight files hold no tensor");
  }

  @Test
  void refusesTruncatedShard() throws IOException {
    twoShards();
    storage.cut("m/model-00002-of-00002.safetensors", 3);
    refuses("Cannot read m/model-00002-of-00002.safetensors: it is truncated");
  }

  private void single() throws IOException {
    text("config.json", CONFIG);
    weights("model.safetensors", "w");
  }

  private void twoShards() throws IOException {
    text("config.json", CONFIG);
    weights("model-00001-of-00002.safetensors", "z", "y");
    weights("model-00002-of-00002.safetensors", "b", "a");
    text(
        INDEX,
        """
        {"metadata": {"total_size": 16}, "weight_map": {
          "a": "model-00002-of-00002.safetensors",
          "b": "model-00002-of-00002.safetensors",
          "y": "model-00001-of-00002.safetensors",
          "z": "model-00001-of-00002.safetensors"}}""");
  }

  private void text(String name, String content) {
    storage.files.put("m/" + name, content.getBytes(StandardCharsets.UTF_8));
  }

  /** A file with vectors of one zero each. */
  private void weights(String name, String... tensors) throws IOException {
    SafetensorsWriter.write(
        storage,
        "m/" + name,
        Stream.of(tensors)
            .map(tensor -> new Entry(tensor, DType.F32, List.of(1L), out -> out.write(new byte[4])))
            .toList());
  }

  private Checkpoint open() throws IOException {
    return Checkpoint.open(storage, "m");
  }

  private void refuses(String fragment) {
    assertThatThrownBy(this::open)
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining(fragment);
  }
}
