package ai.owl.calibration;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.LibUtils;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Turns text into the token ids a checkpoint was trained on, with the checkpoint's own {@code
 * tokenizer.json} and the library that wrote it (Hugging Face tokenizers, run natively). The same
 * ids as {@code AutoTokenizer.from_pretrained(folder)(text).input_ids}: the special tokens that the
 * file's post-processor adds, no truncation and no padding, whatever the file says of them.
 *
 * <p>Owns native memory. Several threads may encode at once; none may while another closes.
 */
public final class TextTokenizer implements AutoCloseable {
  private static final String FILE = "tokenizer.json";
  private static final int MAX_FILE_BYTES = 1 << 28;

  private final String location;
  private final HuggingFaceTokenizer tokenizer;

  private TextTokenizer(String location, HuggingFaceTokenizer tokenizer) {
    this.location = location;
    this.tokenizer = tokenizer;
  }

  /**
   * The tokenizer of the checkpoint in {@code modelFolder}.
   *
   * @throws IllegalArgumentException if the folder has no {@code tokenizer.json}
   * @throws MalformedCheckpointException if that file describes no tokenizer
   * @throws IOException if it cannot be read, or if this machine cannot run the native library
   */
  public static TextTokenizer load(Storage storage, String modelFolder) throws IOException {
    String location = Storage.resolve(modelFolder, FILE);
    if (!storage.exists(location)) {
      throw new IllegalArgumentException(
          "Cannot tokenize text: "
              + modelFolder
              + " has no "
              + FILE
              + "; "
              + remedy(storage.list(modelFolder))
              + "or give token ids as .safetensors");
    }
    byte[] json = storage.readAll(location, MAX_FILE_BYTES);
    loadNativeLibrary();
    try {
      return new TextTokenizer(
          location,
          HuggingFaceTokenizer.newInstance(
              new ByteArrayInputStream(json),
              // Left to itself, the library truncates every text to 512 tokens.
              Map.of("truncation", "false", "padding", "false", "addSpecialTokens", "true")));
    } catch (RuntimeException e) {
      throw new MalformedCheckpointException(
          "Cannot read " + location + ": it describes no tokenizer: " + e.getMessage(), e);
    }
  }

  /** What to do about a folder that has a tokenizer of another kind. */
  private static String remedy(List<String> names) {
    for (String name : List.of("tokenizer.model", "vocab.json")) {
      if (names.contains(name)) {
        return "make one from its "
            + name
            + " with transformers' AutoTokenizer.from_pretrained(folder).save_pretrained(folder), ";
      }
    }
    return "add the one that belongs to the model, ";
  }

  private static void loadNativeLibrary() throws IOException {
    // The library is in the jar. Without this it reports its use, and on a machine with a GPU it
    // downloads another build of itself.
    if (System.getProperty("ai.djl.offline") == null) {
      System.setProperty("ai.djl.offline", "true");
    }
    try {
      LibUtils.checkStatus();
    } catch (RuntimeException | LinkageError e) {
      Throwable root = e;
      while (root.getCause() != null) {
        root = root.getCause();
      }
      throw new IOException(
          "Cannot tokenize text: the native tokenizer library does not load on this machine ("
              + root.getMessage()
              + "); set DJL_CACHE_DIR to a folder that can be written, or give token ids as"
              + " .safetensors",
          e);
    }
  }

  /** The ids of a text of any length, with the special tokens that the post-processor adds. */
  public int[] encode(String text) {
    return encode(text, true);
  }

  /**
   * The ids of a text of any length.
   *
   * @param specialTokens whether the post-processor adds special tokens, such as one for the
   *     beginning of a text
   */
  public int[] encode(String text, boolean specialTokens) {
    // Straight to the native calls: HuggingFaceTokenizer.encode also makes a string and a span
    // object of every token, which takes as long again and many times the memory.
    TokenizersLibrary library = TokenizersLibrary.LIB;
    try {
      long encoding =
          library.encode(tokenizer.getHandle(), Surrogates.replaceLone(text), specialTokens);
      try {
        return Arrays.stream(library.getTokenIds(encoding)).mapToInt(Math::toIntExact).toArray();
      } finally {
        library.deleteEncoding(encoding);
      }
    } catch (IllegalStateException closed) {
      throw closed;
    } catch (RuntimeException e) {
      throw new MalformedCheckpointException(
          "Cannot tokenize text with " + location + ": " + e.getMessage(), e);
    } finally {
      Reference.reachabilityFence(tokenizer); // whose finalizer frees what the handle points to
    }
  }

  /** The text that ids stand for, special tokens included. */
  public String decode(int[] ids) {
    return tokenizer.decode(Arrays.stream(ids).asLongStream().toArray(), false);
  }

  /** The text that ids stand for, as a reader wants it: without special tokens. */
  public String text(int[] ids) {
    return tokenizer.decode(Arrays.stream(ids).asLongStream().toArray(), true);
  }

  @Override
  public void close() {
    tokenizer.close();
  }

  @Override
  public String toString() {
    return location;
  }
}
