package ai.owl.evaluation;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.KeyValueCache;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.ModelLayout;
import ai.owl.model.TokenEmbedding;
import ai.owl.tensor.Matrix;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.IntConsumer;

/**
 * Lets a model write, token by token with a key/value cache, so that people see what pruning leaves
 * of it. Unlike everything else here it holds the whole model in memory, as float32.
 */
public final class TextGenerator implements AutoCloseable {
  private final ModelLayout model;
  private final Set<Integer> ends;
  private final TensorReader reader;
  private final ForwardBuffers buffers;
  private final List<DecoderBlock> blocks = new ArrayList<>();
  private LanguageModelHead head;

  private TextGenerator(ModelLayout model, Set<Integer> ends, Storage storage) {
    this.model = model;
    this.ends = ends;
    this.reader = new TensorReader(storage);
    this.buffers = new ForwardBuffers(model.config());
  }

  /** Loads a checkpoint. */
  public static TextGenerator load(Storage storage, String folder) throws IOException {
    Checkpoint checkpoint = Checkpoint.open(storage, folder);
    TextGenerator generator =
        new TextGenerator(ModelLayout.of(checkpoint), ends(checkpoint.config()), storage);
    try {
      generator.model.config().requirePositions(1, "");
      for (BlockLayout block : generator.model.blocks()) {
        generator.blocks.add(
            DecoderBlock.loadToExtend(generator.model.config(), block, generator.reader));
      }
      generator.head = LanguageModelHead.load(generator.model, generator.reader);
      return generator;
    } catch (IOException | RuntimeException | Error e) {
      generator.close();
      throw e;
    }
  }

  /** eos_token_id is a number, a list of numbers, or absent. */
  private static Set<Integer> ends(JsonNode config) {
    Set<Integer> ends = new HashSet<>();
    JsonNode end = config.path("eos_token_id");
    if (end.isInt()) {
      ends.add(end.intValue());
    }
    end.forEach(id -> ends.add(id.asInt()));
    return ends;
  }

  /** The model, by its addresses. */
  public ModelLayout model() {
    return model;
  }

  /**
   * Continues a text.
   *
   * @param prompt token ids, at least one
   * @param tokens how many to add at most; fewer if the model ends the text
   * @param temperature 0 for the likeliest token every time; otherwise the logits are divided by it
   *     and a token is drawn
   * @param seed of the draws
   * @param each told every token as it comes
   * @return the added tokens, without the end-of-text token
   */
  public int[] generate(int[] prompt, int tokens, double temperature, long seed, IntConsumer each)
      throws IOException {
    int positions = Math.addExact(prompt.length, tokens);
    // The last token that it gives is not given to it.
    model
        .config()
        .requirePositions(
            positions - 1L,
            "shorten the prompt of " + prompt.length + " tokens, or --tokens " + tokens);
    List<KeyValueCache> caches = new ArrayList<>();
    Random random = new Random(seed);
    List<Integer> added = new ArrayList<>();
    try {
      for (int i = 0; i < blocks.size(); i++) {
        caches.add(new KeyValueCache(model.config(), positions));
      }
      int[] next = prompt;
      while (added.size() < tokens) {
        float[] logits = extend(next, caches);
        int token = temperature == 0 ? likeliest(logits) : draw(logits, temperature, random);
        if (ends.contains(token)) {
          break;
        }
        added.add(token);
        each.accept(token);
        next = new int[] {token};
      }
    } finally {
      caches.forEach(KeyValueCache::close);
    }
    return added.stream().mapToInt(Integer::intValue).toArray();
  }

  /** Runs the next tokens through all blocks; the logits of what comes after them. */
  private float[] extend(int[] ids, List<KeyValueCache> caches) throws IOException {
    int past = caches.get(0).length();
    try (Matrix hidden = TokenEmbedding.embed(model, List.of(ids), past, reader).get(0)) {
      for (int i = 0; i < blocks.size(); i++) {
        blocks.get(i).extend(hidden, buffers, caches.get(i));
      }
      return head.nextLogits(hidden);
    }
  }

  private static int likeliest(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      if (logits[i] > logits[best]) {
        best = i;
      }
    }
    return best;
  }

  private static int draw(float[] logits, double temperature, Random random) {
    double max = logits[likeliest(logits)];
    double[] weights = new double[logits.length];
    for (int i = 0; i < logits.length; i++) {
      weights[i] = Math.exp((logits[i] - max) / temperature);
    }
    double left = random.nextDouble() * Arrays.stream(weights).sum();
    for (int i = 0; i < weights.length - 1; i++) {
      left -= weights[i];
      if (left < 0) {
        return i;
      }
    }
    return weights.length - 1;
  }

  @Override
  public void close() {
    blocks.forEach(DecoderBlock::close);
    if (head != null) {
      head.close();
    }
    buffers.close();
    try {
      reader.close();
    } catch (IOException ignored) {
      // Files that were only read.
    }
  }
}
