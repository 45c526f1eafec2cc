package ai.owl.calibration;

import ai.owl.checkpoint.LocalStorage;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.StreamSupport;

/**
 * The two small tokenizers that {@code tokenizers/make_tokenizers.py} makes, and what Python said
 * about them.
 */
public final class SampleTokenizers {
  public static final String BYTE_LEVEL = "byte-level";
  public static final String BYTE_FALLBACK = "byte-fallback";

  private SampleTokenizers() {}

  static Path folder(String name) {
    try {
      return Path.of(SampleTokenizers.class.getResource("/tokenizers/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  public static TextTokenizer load(String name) {
    try {
      return TextTokenizer.load(new LocalStorage(), folder(name).toString());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static JsonNode expected(String name) {
    try {
      return new ObjectMapper().readTree(folder("expected.json").toFile()).get(name);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static int[] ints(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).mapToInt(JsonNode::intValue).toArray();
  }

  /** Documents that lie nowhere. */
  static TextDocuments documents(String... texts) {
    return documents(List.of(texts));
  }

  static TextDocuments documents(Iterable<String> texts) {
    try {
      return TextDocuments.read(List.of(source("memory", texts)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static DocumentSource source(String location, Iterable<String> texts) {
    return new DocumentSource() {
      @Override
      public String location() {
        return location;
      }

      @Override
      public void forEach(Consumer<String> documents) {
        texts.forEach(documents);
      }
    };
  }
}
