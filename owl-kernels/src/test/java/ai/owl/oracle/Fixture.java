package ai.owl.oracle;

import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.SafetensorsFile;
import ai.owl.checkpoint.TensorRef;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * A checkpoint with the numbers that PyTorch and transformers give on it: those in the test
 * resources, made by generate.py beside them, and any others that {@code -Dowl.fixtures} names.
 */
public record Fixture(Path folder) {
  private static final LocalStorage STORAGE = new LocalStorage();

  /** Every fixture there is. */
  public static List<Fixture> all() {
    List<Fixture> fixtures = new ArrayList<>(golden());
    for (String folder : System.getProperty("owl.fixtures", "").split(File.pathSeparator)) {
      if (!folder.isBlank()) {
        fixtures.add(new Fixture(Path.of(folder)));
      }
    }
    return fixtures;
  }

  /** The fixtures in the test resources, which both modules' tests find by the same property. */
  public static List<Fixture> golden() {
    try (Stream<Path> folders = Files.list(Path.of(System.getProperty("owl.golden")))) {
      return folders.filter(Files::isDirectory).sorted().map(Fixture::new).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public static Fixture golden(String name) {
    return golden().stream()
        .filter(fixture -> fixture.toString().equals(name))
        .findFirst()
        .orElseThrow();
  }

  public String model() {
    return folder.resolve("model").toString();
  }

  public JsonNode expected() throws IOException {
    return new ObjectMapper().readTree(expected("expected.json").toFile());
  }

  /** The perplexity of a pruned variant, by generate.py or the oracle, or by methods.py. */
  public double perplexity(String variant) throws IOException {
    JsonNode known = expected().get("perplexity").path(variant);
    if (known.isMissingNode()) {
      known = new ObjectMapper().readTree(expected("methods.json").toFile()).get(variant);
    }
    return known.doubleValue();
  }

  public Path expected(String file) {
    return folder.resolve("expected").resolve(file);
  }

  /**
   * Names of the pruned variants: metric, allocation, propagation, and the pattern if there is one,
   * such as {@code wanda-owl-sequential} or {@code sparsegpt-uniform-sequential-2of4}.
   */
  public List<String> prunedVariants() throws IOException {
    try (Stream<Path> files = Files.list(folder.resolve("expected"))) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.startsWith("pruned-"))
          .map(name -> name.substring("pruned-".length(), name.length() - ".safetensors".length()))
          .sorted()
          .toList();
    }
  }

  public TokenSequences calibration() throws IOException {
    return tokens("calibration");
  }

  public TokenSequences evaluation() throws IOException {
    return tokens("evaluation");
  }

  private TokenSequences tokens(String name) throws IOException {
    TensorRef tensor = tensor(expected("tokens.safetensors"), name);
    ByteBuffer ids = ByteBuffer.wrap(bytes(tensor)).order(ByteOrder.LITTLE_ENDIAN);
    List<int[]> sequences = new ArrayList<>();
    for (int s = 0; s < tensor.shape().get(0); s++) {
      int[] sequence = new int[(int) (long) tensor.shape().get(1)];
      for (int t = 0; t < sequence.length; t++) {
        sequence[t] = (int) ids.getLong();
      }
      sequences.add(sequence);
    }
    return TokenSequences.of(sequences);
  }

  public static TensorRef tensor(Path file, String name) throws IOException {
    return SafetensorsFile.open(STORAGE, file.toString()).tensors().stream()
        .filter(tensor -> tensor.name().equals(name))
        .findFirst()
        .orElseThrow(() -> new IllegalStateException(file + " has no " + name));
  }

  /** A tensor's elements as float32. */
  public static float[] values(TensorRef tensor) throws IOException {
    float[] values = new float[(int) tensor.elements()];
    tensor.type().widen(bytes(tensor), 0, values, values.length);
    return values;
  }

  public static byte[] bytes(TensorRef tensor) throws IOException {
    byte[] bytes = new byte[(int) tensor.bytes()];
    try (var reader = STORAGE.open(tensor.file())) {
      reader.read(tensor.position(), bytes, 0, bytes.length);
    }
    return bytes;
  }

  @Override
  public String toString() {
    return folder.getFileName().toString();
  }
}
