package ai.owl.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.ByteArrayInputStream;
import java.io.DataOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.Serializable;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/**
 * A model folder in the Hugging Face layout: {@code config.json}, the weights in one or several
 * safetensors files, and the files of the tokenizer.
 *
 * <p>Opening reads the configuration, the index and the headers, and checks them against each
 * other; no weight is read. Immutable, and serializable: tasks get the addresses and open the files
 * themselves.
 */
public final class Checkpoint implements Serializable {
  private static final String CONFIG = "config.json";
  private static final String SINGLE = "model.safetensors";
  private static final String INDEX = "model.safetensors.index.json";
  private static final int MAX_CONFIG = 16 << 20;
  private static final int SAMPLES = 128;
  private static final int SAMPLE_BYTES = 4096;
  private static final int MAX_INDEX = 100 << 20;

  // Neither a path nor anything that a URI would read as more than a name.
  private static final Pattern SHARD_NAME =
      Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._+=@-]*\\.safetensors");

  private static final List<String> WEIGHT_SUFFIXES =
      List.of(
          ".safetensors",
          ".bin",
          ".pt",
          ".pth",
          ".ckpt",
          ".ot",
          ".gguf",
          ".onnx",
          ".onnx_data",
          ".h5",
          ".msgpack",
          ".index.json");

  private static final ObjectReader JSON =
      new ObjectMapper(
              JsonFactory.builder()
                  // Python writes NaN and Infinity, and a configuration may hold them.
                  .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
                  .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                  .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
                  .build())
          .reader()
          .with(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
          .with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private final Storage storage;
  private final String folder;
  private final byte[] config; // not the tree, which is mutable
  private final Map<String, TensorRef> tensors;
  private final List<String> sidecars;
  private final String indexDigest;

  private Checkpoint(
      Storage storage,
      String folder,
      byte[] config,
      Map<String, TensorRef> tensors,
      List<String> sidecars,
      String indexDigest) {
    this.storage = storage;
    this.folder = folder;
    this.config = config;
    this.tensors = tensors;
    this.sidecars = sidecars;
    this.indexDigest = indexDigest;
  }

  /**
   * Opens a model folder. Where both {@code model.safetensors} and an index are there, the single
   * file is taken, as transformers does.
   *
   * @throws MalformedCheckpointException if the folder is not a whole, consistent checkpoint
   * @throws IOException if it cannot be read
   */
  public static Checkpoint open(Storage storage, String folder) throws IOException {
    List<String> names = storage.list(folder);
    if (names.isEmpty()) {
      throw refused(
          folder,
          storage.exists(folder)
              ? "it is a file; expected a folder with config.json and safetensors files"
              : "there is no such folder, or nothing is in it");
    }
    if (!names.contains(CONFIG)) {
      throw refused(folder, "there is no " + CONFIG + " in it");
    }
    byte[] config = storage.readAll(Storage.resolve(folder, CONFIG), MAX_CONFIG);
    parse(Storage.resolve(folder, CONFIG), config);

    List<SafetensorsFile> files = new ArrayList<>();
    Map<String, TensorRef> tensors;
    if (names.contains(SINGLE)) {
      files.add(SafetensorsFile.open(storage, Storage.resolve(folder, SINGLE)));
      tensors = collect(folder, files);
    } else if (names.contains(INDEX)) {
      Map<String, String> weightMap = readIndex(storage, Storage.resolve(folder, INDEX));
      for (String name : new TreeSet<>(weightMap.values())) {
        files.add(openShard(storage, folder, name));
      }
      tensors = collect(folder, files);
      compare(folder, weightMap, tensors);
    } else {
      throw refused(
          folder,
          "there is neither "
              + SINGLE
              + " nor "
              + INDEX
              + " in it"
              + (names.stream().anyMatch(name -> name.matches("pytorch_model.*\\.bin"))
                  ? "; it has pytorch_model*.bin files, which must be saved as safetensors first"
                      + " (save_pretrained of transformers does)"
                  : ""));
    }
    if (tensors.isEmpty()) {
      throw refused(folder, "its weight files hold no tensor");
    }
    return new Checkpoint(
        storage,
        folder,
        config,
        Collections.unmodifiableMap(tensors),
        sidecars(storage, folder, names),
        digest(config, files));
  }

  /**
   * Reads the configuration alone, of a model folder that may lack its weights.
   *
   * @return the content of {@code config.json}, an object
   * @throws MalformedCheckpointException if there is none, or it is not a JSON object
   */
  public static JsonNode configOf(Storage storage, String folder) throws IOException {
    String location = Storage.resolve(folder, CONFIG);
    if (!storage.list(folder).contains(CONFIG)) {
      throw refused(folder, "there is no " + CONFIG + " in it");
    }
    return parse(location, storage.readAll(location, MAX_CONFIG));
  }

  /** Whether a folder has weights that {@link #open} would look for. */
  public static boolean hasWeights(Storage storage, String folder) throws IOException {
    List<String> names = storage.list(folder);
    return names.contains(SINGLE) || names.contains(INDEX);
  }

  /** Where the checkpoint lies. */
  public Storage storage() {
    return storage;
  }

  /** Location of the folder, as it was given. */
  public String folder() {
    return folder;
  }

  /** The content of {@code config.json}, an object; parsed anew by each call. */
  public JsonNode config() {
    return parse(Storage.resolve(folder, CONFIG), config);
  }

  /** All tensors by name, in order of file name, then of position in the file. */
  public Map<String, TensorRef> tensors() {
    return tensors;
  }

  /**
   * The tensor of this name.
   *
   * @throws MalformedCheckpointException if there is none
   */
  public TensorRef tensor(String name) {
    TensorRef tensor = tensors.get(name);
    if (tensor == null) {
      throw new MalformedCheckpointException(
          "Cannot find tensor " + name + " in " + folder + ", which has " + tensors.size());
    }
    return tensor;
  }

  /**
   * Names, sorted, of the files that make the folder a model beside its weights and their index:
   * configuration, tokenizer, licence and whatever else lies there.
   */
  public List<String> sidecars() {
    return sidecars;
  }

  /**
   * A cheap identity of the checkpoint, in hexadecimal: the SHA-256 of its configuration and of
   * name, size and header of each weight file. It notices another model, but not weights that
   * changed in place.
   */
  public String indexDigest() {
    return indexDigest;
  }

  /**
   * Changes whenever one of the files that hold weights is written, which {@link #digest} need not
   * notice; another copy of the same checkpoint has another.
   */
  public String stamps() throws IOException {
    Set<String> files = new LinkedHashSet<>();
    tensors.values().forEach(tensor -> files.add(tensor.file()));
    List<String> stamps = new ArrayList<>();
    for (String file : files) {
      stamps.add(storage.stamp(file));
    }
    return String.join(", ", stamps);
  }

  /**
   * Identifies the checkpoint by its headers and by samples of its weights, so that two fine-tunes
   * of one model, or weights that changed in place, are told apart without reading all of them.
   */
  public String digest() throws IOException {
    List<TensorRef> all = List.copyOf(tensors.values());
    int count = Math.min(SAMPLES, all.size());
    MessageDigest digest = SafetensorsWriter.sha256();
    digest.update(indexDigest.getBytes(StandardCharsets.UTF_8));
    Storage.Reader reader = null;
    String opened = null;
    try {
      for (int i = 0; i < count; i++) {
        TensorRef tensor = all.get((int) ((long) i * all.size() / count));
        if (!tensor.file().equals(opened)) {
          if (reader != null) {
            reader.close();
          }
          reader = storage.open(tensor.file());
          opened = tensor.file();
        }
        int length = (int) Math.min(SAMPLE_BYTES, tensor.bytes());
        byte[] sample = new byte[length];
        reader.read(tensor.position() + (tensor.bytes() - length) / 2, sample, 0, length);
        digest.update(sample);
      }
    } finally {
      if (reader != null) {
        reader.close();
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  @Override
  public String toString() {
    return "Checkpoint[" + folder + ", " + tensors.size() + " tensors]";
  }

  private static Map<String, String> readIndex(Storage storage, String location)
      throws IOException {
    JsonNode weights = parse(location, storage.readAll(location, MAX_INDEX)).get("weight_map");
    if (weights == null || !weights.isObject()) {
      throw new MalformedCheckpointException(
          "Cannot read "
              + location
              + ": expected an object weight_map, "
              + (weights == null ? "there is none" : "found " + shown(weights)));
    }
    Map<String, String> weightMap = new LinkedHashMap<>();
    Iterator<Map.Entry<String, JsonNode>> fields = weights.fields();
    while (fields.hasNext()) {
      Map.Entry<String, JsonNode> field = fields.next();
      JsonNode file = field.getValue();
      if (!file.isTextual() || !SHARD_NAME.matcher(file.textValue()).matches()) {
        throw new MalformedCheckpointException(
            "Cannot read "
                + location
                + ": weight_map should give the plain name of a .safetensors file for tensor "
                + SafetensorsFile.quoted(field.getKey())
                + ", found "
                + shown(file));
      }
      weightMap.put(field.getKey(), file.textValue());
    }
    return weightMap;
  }

  private static SafetensorsFile openShard(Storage storage, String folder, String name)
      throws IOException {
    try {
      return SafetensorsFile.open(storage, Storage.resolve(folder, name));
    } catch (FileNotFoundException e) {
      throw new MalformedCheckpointException(
          "Cannot open model " + folder + ": " + INDEX + " names " + name + ", which is not there",
          e);
    }
  }

  private static Map<String, TensorRef> collect(String folder, List<SafetensorsFile> files) {
    Map<String, TensorRef> tensors = new LinkedHashMap<>();
    for (SafetensorsFile file : files) {
      for (TensorRef tensor : file.tensors()) {
        TensorRef other = tensors.put(tensor.name(), tensor);
        if (other != null) {
          throw refused(
              folder,
              "tensor "
                  + SafetensorsFile.quoted(tensor.name())
                  + " is both in "
                  + Storage.name(other.file())
                  + " and in "
                  + Storage.name(tensor.file()));
        }
      }
    }
    return tensors;
  }

  private static void compare(
      String folder, Map<String, String> weightMap, Map<String, TensorRef> tensors) {
    for (TensorRef tensor : tensors.values()) {
      String named = weightMap.get(tensor.name());
      String file = Storage.name(tensor.file());
      if (!file.equals(named)) {
        throw refused(
            folder,
            "tensor "
                + SafetensorsFile.quoted(tensor.name())
                + " is in "
                + file
                + ", but "
                + INDEX
                + (named == null ? " does not list it" : " says it is in " + named));
      }
    }
    weightMap.forEach(
        (name, file) -> {
          if (!tensors.containsKey(name)) {
            throw refused(
                folder,
                INDEX
                    + " says that tensor "
                    + SafetensorsFile.quoted(name)
                    + " is in "
                    + file
                    + ", but it is not");
          }
        });
  }

  private static List<String> sidecars(Storage storage, String folder, List<String> names)
      throws IOException {
    List<String> sidecars = new ArrayList<>();
    for (String name : names) {
      String lower = name.toLowerCase(Locale.ROOT);
      if (!name.startsWith(".")
          && WEIGHT_SUFFIXES.stream().noneMatch(lower::endsWith)
          && !storage.isFolder(Storage.resolve(folder, name))) {
        sidecars.add(name);
      }
    }
    return List.copyOf(sidecars);
  }

  private static String digest(byte[] config, List<SafetensorsFile> files) throws IOException {
    MessageDigest digest = SafetensorsWriter.sha256();
    try (DataOutputStream out =
        new DataOutputStream(new DigestOutputStream(OutputStream.nullOutputStream(), digest))) {
      out.writeInt(config.length);
      out.write(config);
      for (SafetensorsFile file : files) {
        out.writeUTF(Storage.name(file.location()));
        out.writeLong(file.size());
        out.writeInt(file.header().length);
        out.write(file.header());
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static JsonNode parse(String location, byte[] content) {
    String why;
    Exception cause = null;
    try (InputStreamReader text =
        new InputStreamReader(
            new ByteArrayInputStream(content), StandardCharsets.UTF_8.newDecoder())) {
      JsonNode root = JSON.readTree(text);
      if (root.isObject()) {
        return root;
      }
      why = "expected a JSON object, found " + shown(root);
    } catch (CharacterCodingException e) {
      why = "it is not UTF-8";
      cause = e;
    } catch (JsonProcessingException e) {
      why = "it is not valid JSON: " + e.getOriginalMessage();
      cause = e;
    } catch (IOException e) {
      throw new AssertionError("reading from memory", e);
    }
    throw new MalformedCheckpointException("Cannot read " + location + ": " + why, cause);
  }

  private static String shown(JsonNode node) {
    return switch (node.getNodeType()) {
      case MISSING -> "nothing";
      case OBJECT -> "an object";
      case ARRAY -> "an array";
      case STRING -> "the string " + SafetensorsFile.quoted(node.textValue());
      default -> SafetensorsFile.quoted(node.asText());
    };
  }

  private static MalformedCheckpointException refused(String folder, String why) {
    return new MalformedCheckpointException("Cannot open model " + folder + ": " + why);
  }
}
