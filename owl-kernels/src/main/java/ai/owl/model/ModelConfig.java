package ai.owl.model;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.kernel.Activation;
import ai.owl.kernel.Compute;
import ai.owl.kernel.RotaryEmbedding;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * What {@code config.json} says of the network, in the spellings of old and new transformers
 * versions. Whatever would change the computation and is not supported here is refused by name,
 * never ignored.
 *
 * @param embeddingSize width of the token embedding's rows; where it is not {@code hiddenSize},
 *     there are projections between the two
 * @param keyValueHeads number of key and value heads; fewer than {@code heads} with grouped queries
 * @param normGains whether norms have weights, or merely normalize
 * @param normalizesInputs whether norms stand on the way into attention and feed-forward part
 *     (pre-norm), or on the sums after them (post-norm)
 * @param finalNorm whether there is a norm after the last block
 * @param embeddingScale what token embeddings are multiplied by
 * @param attentionScale what scores are multiplied by
 * @param attentionCap soft bound of the scores; 0 for none
 * @param logitCap soft bound of the logits; 0 for none
 * @param slidingWindows for each block how many positions a token attends to; 0 for all
 * @param biases the linear layers that have one
 * @param tiedEmbeddings whether the token embedding is also the language-model head
 * @param patches how images are cut, in a model that reads images instead of token ids; else empty
 * @param labels names of what a classifier tells apart, in the order of its outputs; else empty
 * @param compute what the products of its linear layers and of attention are computed in: the run's
 *     choice, which no checkpoint says
 */
public record ModelConfig(
    Architecture architecture,
    int hiddenSize,
    int embeddingSize,
    int intermediateSize,
    int blocks,
    int heads,
    int keyValueHeads,
    int headDim,
    int vocabSize,
    int maxPositions,
    NormKind norm,
    float normEpsilon,
    boolean normGains,
    boolean normalizesInputs,
    boolean finalNorm,
    Activation activation,
    PositionEncoding positions,
    float embeddingScale,
    float attentionScale,
    float attentionCap,
    float logitCap,
    List<Integer> slidingWindows,
    Set<LinearRole> biases,
    boolean tiedEmbeddings,
    List<PatchGrid> patches,
    List<String> labels,
    Compute compute)
    implements Serializable {

  /**
   * Reads a parsed {@code config.json}.
   *
   * @param source where it came from, for messages
   * @throws MalformedCheckpointException if it is incomplete, contradictory, or asks for something
   *     unsupported
   */
  public static ModelConfig parse(JsonNode json, String source) {
    return new Parser(json, source).parse();
  }

  /**
   * The same model, with the products of its linear layers and of attention computed in something
   * else.
   */
  public ModelConfig computedIn(Compute value) {
    return new ModelConfig(
        architecture,
        hiddenSize,
        embeddingSize,
        intermediateSize,
        blocks,
        heads,
        keyValueHeads,
        headDim,
        vocabSize,
        maxPositions,
        norm,
        normEpsilon,
        normGains,
        normalizesInputs,
        finalNorm,
        activation,
        positions,
        embeddingScale,
        attentionScale,
        attentionCap,
        logitCap,
        slidingWindows,
        biases,
        tiedEmbeddings,
        patches,
        labels,
        value);
  }

  /** How many positions a token of this block attends to; 0 for all. */
  public int slidingWindow(int block) {
    return slidingWindows.get(block);
  }

  /** Whether the model reads images; else it reads token ids. */
  public boolean readsImages() {
    return !patches.isEmpty();
  }

  /** Whether a token sees nothing that comes after it. */
  public boolean isCausal() {
    return !readsImages();
  }

  /**
   * Refuses token ids where a model reads images, and sequences that reach beyond a table of
   * learned positions. Rotary positions have no end.
   *
   * @param tokens length of a sequence
   * @param shorten what its maker can do about it
   */
  public void requirePositions(long tokens, String shorten) {
    if (readsImages()) {
      throw new IllegalArgumentException(
          "Cannot run token ids through "
              + architecture.className()
              + ": it reads images; give it a folder of images");
    }
    if (positions instanceof PositionEncoding.Learned && tokens > maxPositions) {
      throw new IllegalArgumentException(
          "Cannot run a sequence of "
              + tokens
              + " tokens: the model has learned "
              + maxPositions
              + " positions (max_position_embeddings), and knows none beyond; "
              + shorten);
    }
  }

  boolean hasBias(LinearRole role) {
    return biases.contains(role);
  }

  /** Number of input features of a linear layer. */
  public int inFeatures(LinearRole role) {
    return switch (role) {
      case O_PROJ -> heads * headDim;
      case DOWN_PROJ -> intermediateSize;
      default -> hiddenSize;
    };
  }

  /** Number of output features of a linear layer. */
  public int outFeatures(LinearRole role) {
    return switch (role) {
      case Q_PROJ -> heads * headDim;
      case K_PROJ, V_PROJ -> keyValueHeads * headDim;
      case GATE_PROJ, UP_PROJ -> intermediateSize;
      case QKV_PROJ, GATE_UP_PROJ -> role.parts().stream().mapToInt(this::outFeatures).sum();
      case O_PROJ, DOWN_PROJ -> hiddenSize;
    };
  }

  /** Whether the feed-forward part multiplies by a gate. */
  public boolean isGated() {
    return architecture.linears().keySet().stream()
        .anyMatch(role -> role.parts().contains(LinearRole.GATE_PROJ));
  }

  /**
   * A narrower network of one block with heads of the same width, to measure a machine with: its
   * weights are fewer by the square of the divisor.
   *
   * @param divisor of hidden size, intermediate size and heads
   * @param vocabulary number of tokens, at most as many as there are
   * @throws IllegalArgumentException if it divides one of them not
   */
  public ModelConfig narrowed(int divisor, int vocabulary) {
    if (!isNarrowedBy(divisor)) {
      throw new IllegalArgumentException(
          "Cannot narrow a network of width "
              + hiddenSize
              + ", "
              + intermediateSize
              + " and "
              + heads
              + " heads by "
              + divisor);
    }
    return new ModelConfig(
        architecture,
        hiddenSize / divisor,
        hiddenSize / divisor,
        intermediateSize / divisor,
        1,
        heads / divisor,
        narrowedGroups(divisor),
        headDim,
        Math.min(vocabSize, vocabulary),
        maxPositions,
        norm,
        normEpsilon,
        normGains,
        normalizesInputs,
        finalNorm,
        activation,
        positions,
        embeddingScale,
        attentionScale,
        attentionCap,
        logitCap,
        slidingWindows.subList(0, 1),
        biases,
        tiedEmbeddings,
        patches,
        labels,
        compute);
  }

  /** Whether {@link #narrowed} can divide by that. */
  public boolean isNarrowedBy(int divisor) {
    return hiddenSize % divisor == 0
        && intermediateSize % divisor == 0
        && heads % divisor == 0
        && heads / divisor % narrowedGroups(divisor) == 0;
  }

  private int narrowedGroups(int divisor) {
    return Math.max(1, keyValueHeads / divisor);
  }

  /** The rotation of queries and keys, where positions are told by it. */
  Optional<RotaryEmbedding> rotary() {
    return positions instanceof PositionEncoding.Rotary rotary
        ? Optional.of(rotary.embedding())
        : Optional.empty();
  }

  /** The norms of a block: where they stand, and their names in it. */
  Map<NormRole, String> norms() {
    Map<NormRole, String> norms = new EnumMap<>(architecture.norms());
    if (!normalizesInputs) {
      norms.put(NormRole.ATTENTION_SUM, norms.remove(NormRole.ATTENTION_INPUT));
      norms.put(NormRole.MLP_SUM, norms.remove(NormRole.MLP_INPUT));
    }
    return norms;
  }

  /** Number of features that such a norm takes together. */
  int width(NormRole role) {
    return role == NormRole.QUERY || role == NormRole.KEY ? headDim : hiddenSize;
  }

  /** Shape of a tensor outside the blocks; empty if this model has none. */
  long[] shape(ModelPart part) {
    boolean projects = embeddingSize != hiddenSize;
    return switch (part) {
      case TOKEN_EMBEDDING -> new long[] {vocabSize, embeddingSize};
      case HEAD ->
          readsImages()
              ? new long[] {labels.size(), hiddenSize}
              : new long[] {vocabSize, embeddingSize};
      case HEAD_BIAS -> new long[] {labels.size()};
      case POSITION_EMBEDDING ->
          positions instanceof PositionEncoding.Learned learned
              ? readsImages()
                  ? new long[] {1, maxPositions, hiddenSize}
                  : new long[] {learned.offset() + maxPositions, hiddenSize}
              : new long[0];
      case CLASS_TOKEN -> new long[] {1, 1, hiddenSize};
      case PATCH_PROJECTION -> {
        PatchGrid grid = patches.get(0);
        yield new long[] {hiddenSize, grid.channels(), grid.patchHeight(), grid.patchWidth()};
      }
      case PATCH_BIAS -> new long[] {hiddenSize};
      case PROJECT_IN -> projects ? new long[] {hiddenSize, embeddingSize} : new long[0];
      case PROJECT_OUT -> projects ? new long[] {embeddingSize, hiddenSize} : new long[0];
    };
  }

  private record Parser(JsonNode json, String source) {
    private static final int MAX_BLOCKS = 1 << 16;
    private static final int MAX_IMAGE_VALUES = 1 << 28;
    private static final int DEFAULT_MAX_WINDOW_LAYERS = 28;
    private static final String FULL = "full_attention";
    private static final String SLIDING = "sliding_attention";

    ModelConfig parse() {
      if (!json.isObject()) {
        throw refuse("it is not a JSON object");
      }
      Architecture architecture = architecture();
      refuseWhatIsNotSupported();
      if (flag(architecture, "use_bidirectional_attention", false)) {
        throw refuse("use_bidirectional_attention is not supported");
      }
      int hidden = positive("hidden_size");
      int heads = positive("num_attention_heads");
      int keyValueHeads = keyValueHeads(architecture, heads);
      int headDim = headDim(architecture, hidden, heads);
      double epsilon = number(json, architecture.epsilonKey(), architecture.defaultEpsilon());
      if (!(epsilon >= 0 && epsilon < 1)) {
        throw refuse(architecture.epsilonKey() + " is " + epsilon);
      }
      int blocks = positive("num_hidden_layers");
      if (blocks > MAX_BLOCKS) {
        throw refuse("num_hidden_layers " + blocks + " is beyond any model");
      }
      List<PatchGrid> patches = patches(architecture);
      boolean normalizesInputs = flag(architecture, "do_layer_norm_before", true);
      return new ModelConfig(
          architecture,
          hidden,
          architecture.reads("word_embed_proj_dim")
              ? positive("word_embed_proj_dim", hidden)
              : hidden,
          positive(architecture.intermediateSizeKey()),
          blocks,
          heads,
          keyValueHeads,
          headDim,
          patches.isEmpty() ? positive("vocab_size") : 0,
          patches.isEmpty()
              ? positive("max_position_embeddings", architecture.defaultMaxPositions())
              : Math.addExact(1, patches.get(0).patches()), // the class token's and the patches'
          architecture.normKind(),
          (float) epsilon,
          flag(architecture, "layer_norm_elementwise_affine", true),
          normalizesInputs,
          normalizesInputs && !flag(architecture, "_remove_final_layer_norm", false),
          activation(architecture),
          architecture.positionOffset() < 0
              ? new PositionEncoding.Rotary(rotary(headDim))
              : new PositionEncoding.Learned(architecture.positionOffset()),
          architecture.scalesEmbeddings() ? (float) Math.sqrt(hidden) : 1f,
          (float) (1 / Math.sqrt(queryScalar(architecture, headDim))),
          cap(architecture, "attn_logit_softcapping", 50),
          cap(architecture, "final_logit_softcapping", 30),
          slidingWindows(architecture, blocks),
          biases(architecture),
          patches.isEmpty() && flag("tie_word_embeddings", architecture.tiesByDefault()),
          patches,
          patches.isEmpty() ? List.of() : labels(),
          Compute.FLOAT32);
    }

    private List<PatchGrid> patches(Architecture architecture) {
      if (!architecture.reads("patch_size")) {
        return List.of();
      }
      int[] image = heightAndWidth("image_size", 224);
      int[] patch = heightAndWidth("patch_size", 16);
      int channels = positive("num_channels", 3);
      if (patch[0] > image[0] || patch[1] > image[1]) {
        throw refuse(
            "patch_size " + json.get("patch_size") + " is larger than image_size " + image[0]);
      }
      if ((double) image[0] * image[1] * channels > MAX_IMAGE_VALUES) { // a long may overflow
        throw refuse("image_size " + json.get("image_size") + " is beyond any model");
      }
      return List.of(new PatchGrid(image[0], image[1], patch[0], patch[1], channels));
    }

    /** A number for both, or a list of the two. */
    private int[] heightAndWidth(String key, int fallback) {
      JsonNode node = json.path(key);
      if (!node.isArray()) {
        int size = positive(key, fallback);
        return new int[] {size, size};
      }
      int[] sizes = new int[2];
      for (int i = 0; i < 2; i++) {
        if (node.size() != 2 || !node.get(i).canConvertToInt() || node.get(i).intValue() < 1) {
          throw refuse(key + " is " + node + ", not a height and a width");
        }
        sizes[i] = node.get(i).intValue();
      }
      return sizes;
    }

    private List<String> labels() {
      String problem = json.path("problem_type").asText("single_label_classification");
      if (present("problem_type") && !problem.equals("single_label_classification")) {
        throw refuse(
            "problem_type "
                + problem
                + " is not supported; supported is single_label_classification");
      }
      JsonNode names = json.path("id2label");
      List<String> labels = new ArrayList<>();
      if (!names.isObject()) {
        int count = positive("num_labels", 2);
        for (int i = 0; i < count; i++) {
          labels.add("LABEL_" + i);
        }
        return List.copyOf(labels);
      }
      for (int i = 0; i < names.size(); i++) {
        if (!names.path(Integer.toString(i)).isTextual()) {
          throw refuse("id2label has " + names.size() + " entries, but none for \"" + i + "\"");
        }
        labels.add(names.get(Integer.toString(i)).asText());
      }
      if (labels.isEmpty()) {
        throw refuse("id2label has no entry");
      }
      return List.copyOf(labels);
    }

    private int keyValueHeads(Architecture architecture, int heads) {
      if (!architecture.reads("num_key_value_heads")) {
        return heads;
      }
      // Where the key is there but null, transformers takes as many as query heads.
      int fallback =
          architecture.defaultKeyValueHeads() == 0 || json.has("num_key_value_heads")
              ? heads
              : architecture.defaultKeyValueHeads();
      int keyValueHeads = positive("num_key_value_heads", fallback);
      if (heads % keyValueHeads != 0) {
        throw refuse(
            "num_attention_heads "
                + heads
                + " is no multiple of num_key_value_heads "
                + keyValueHeads);
      }
      return keyValueHeads;
    }

    private int headDim(Architecture architecture, int hidden, int heads) {
      boolean given = architecture.reads("head_dim") && present("head_dim");
      if (!given && architecture.defaultHeadDim() == 0 && hidden % heads != 0) {
        throw refuse(
            "hidden_size "
                + hidden
                + " is no multiple of num_attention_heads "
                + heads
                + (architecture.reads("head_dim") ? " and head_dim is not given" : ""));
      }
      int fallback =
          architecture.defaultHeadDim() == 0 ? hidden / heads : architecture.defaultHeadDim();
      int headDim = given ? positive("head_dim", fallback) : fallback;
      if (headDim % 2 != 0 && architecture.positionOffset() < 0) {
        throw refuse("head_dim " + headDim + " is odd, which rotary embeddings do not allow");
      }
      if ((long) heads * headDim > 1 << 24) {
        throw refuse(
            "num_attention_heads " + heads + " times head_dim " + headDim + " is beyond any model");
      }
      return headDim;
    }

    /** What scores are divided by the square root of. */
    private double queryScalar(Architecture architecture, int headDim) {
      if (!architecture.reads("query_pre_attn_scalar")) {
        return headDim;
      }
      double scalar = number(json, "query_pre_attn_scalar", 256);
      if (!(scalar > 0) || Double.isInfinite(scalar)) {
        throw refuse("query_pre_attn_scalar is " + scalar);
      }
      return scalar;
    }

    /** Where the key is there but null, there is none. */
    private float cap(Architecture architecture, String key, double fallback) {
      if (!architecture.reads(key) || json.path(key).isNull()) {
        return 0;
      }
      double cap = number(json, key, fallback);
      if (!(cap > 0) || Double.isInfinite(cap)) {
        throw refuse(key + " is " + cap);
      }
      return (float) cap;
    }

    private Activation activation(Architecture architecture) {
      String key = architecture.activationKey();
      if (!present(key)) {
        return architecture.defaultActivation();
      }
      String name = json.get(key).asText();
      List<String> names = new ArrayList<>();
      for (Activation activation : Activation.values()) {
        if (activation.names().contains(name)) {
          return activation;
        }
        names.addAll(activation.names());
      }
      throw refuse(
          key + " " + name + " is not supported; supported are " + String.join(", ", names));
    }

    private Set<LinearRole> biases(Architecture architecture) {
      Set<LinearRole> biases = EnumSet.noneOf(LinearRole.class);
      architecture
          .biases()
          .forEach(
              (role, bias) -> {
                if (bias.key().isEmpty() ? bias.fallback() : flag(bias.key(), bias.fallback())) {
                  biases.add(role);
                }
              });
      return Collections.unmodifiableSet(biases);
    }

    private Architecture architecture() {
      JsonNode classes = json.path("architectures");
      if (!classes.isArray() || classes.isEmpty()) {
        String type = json.path("model_type").asText("");
        for (Architecture known : Architecture.values()) {
          if (known.modelType().equals(type)) {
            return known;
          }
        }
        throw refuse("it names no architecture; supported are " + Architecture.supported());
      }
      String name = classes.get(0).asText();
      for (Architecture known : Architecture.values()) {
        if (known.className().equals(name)) {
          return known;
        }
      }
      throw refuse(
          "the architecture "
              + name
              + " is not supported; supported are "
              + Architecture.supported());
    }

    private void refuseWhatIsNotSupported() {
      if (present("quantization_config")) {
        throw refuse(
            "quantization_config: quantized checkpoints cannot be pruned; use the model's float checkpoint");
      }
      if (json.path("is_encoder_decoder").asBoolean(false)) {
        throw refuse("is_encoder_decoder: encoder-decoder models are not supported");
      }
    }

    private List<Integer> slidingWindows(Architecture architecture, int blocks) {
      return switch (architecture.slidingWindows()) {
        case NOWHERE -> {
          if (present("sliding_window") || SLIDING.equals(onlyLayerType())) {
            throw refuse("sliding_window is not supported for " + architecture.className());
          }
          yield Collections.nCopies(blocks, 0);
        }
        case IN_EVERY_BLOCK -> Collections.nCopies(blocks, windowOfAllBlocks(architecture));
        case IN_UPPER_BLOCKS -> {
          boolean asked = flag("use_sliding_window", false);
          int window = asked ? windowOrNone(architecture) : 0;
          int full = wholeNumber("max_window_layers", DEFAULT_MAX_WINDOW_LAYERS);
          yield windowsByLayerType(blocks, window, block -> block >= full);
        }
        case IN_EVERY_OTHER_BLOCK -> {
          int window = windowOrNone(architecture);
          if (window == 0) {
            throw refuse("sliding_window is null, and every other block needs one");
          }
          yield windowsByLayerType(blocks, window, block -> block % 2 == 0);
        }
      };
    }

    private int windowOrNone(Architecture architecture) {
      return json.path("sliding_window").isNull()
          ? 0
          : positive("sliding_window", architecture.defaultSlidingWindow());
    }

    /** The class knows no use_sliding_window: transformers goes by sliding_window alone. */
    private int windowOfAllBlocks(Architecture architecture) {
      String type = onlyLayerType();
      if (json.path("sliding_window").isNull()
          || !present("sliding_window") && architecture.defaultSlidingWindow() == 0) {
        return 0;
      }
      if (FULL.equals(type)) {
        throw refuse(
            "layer_types says full_attention, sliding_window "
                + positive("sliding_window", architecture.defaultSlidingWindow())
                + ": set sliding_window to null, or remove layer_types");
      }
      return positive("sliding_window", architecture.defaultSlidingWindow());
    }

    /**
     * @param window where there is one; 0 if there is none anywhere
     * @param fallback the blocks with a window where there are no layer_types
     */
    private List<Integer> windowsByLayerType(int blocks, int window, IntPredicate fallback) {
      JsonNode types = json.path("layer_types");
      if (types.isMissingNode() || types.isNull()) {
        return IntStream.range(0, blocks)
            .mapToObj(block -> fallback.test(block) ? window : 0)
            .toList();
      }
      if (!types.isArray() || types.size() != blocks) {
        throw refuse(
            "layer_types has " + types.size() + " entries, num_hidden_layers is " + blocks);
      }
      List<Integer> all = new ArrayList<>();
      for (JsonNode type : types) {
        if (type.asText().equals(SLIDING) && window == 0) {
          throw refuse(
              "layer_types has sliding_attention, but there is no window: set use_sliding_window"
                  + " to true and sliding_window to a size, or remove layer_types");
        }
        if (!type.asText().equals(SLIDING) && !type.asText().equals(FULL)) {
          throw refuse(
              "layer_types has "
                  + type.asText()
                  + ", which is not supported; supported are full_attention, sliding_attention");
        }
        all.add(type.asText().equals(SLIDING) ? window : 0);
      }
      return List.copyOf(all);
    }

    /** What layer_types says of every block; empty if there is no such key. */
    private String onlyLayerType() {
      JsonNode types = json.path("layer_types");
      String first = types.path(0).asText();
      for (JsonNode type : types) {
        if (!type.asText().equals(first)) {
          throw refuse(
              "layer_types mixes " + first + " and " + type.asText() + ", which is not supported");
        }
      }
      return first;
    }

    /**
     * Old spelling: rope_theta and rope_scaling at the top; new spelling: both in rope_parameters.
     * Where a configuration has both spellings, transformers takes rope_scaling.
     */
    private RotaryEmbedding rotary(int headDim) {
      JsonNode old = json.path("rope_scaling");
      boolean isNew = !present("rope_scaling") || old.isObject() && old.isEmpty();
      JsonNode scaling = isNew ? json.path("rope_parameters") : old;
      double theta = number(scaling.has("rope_theta") ? scaling : json, "rope_theta", 10_000);
      if (!(theta > 0) || Double.isInfinite(theta)) {
        throw refuse("rope_theta is " + theta);
      }
      double partial =
          number(scaling.has("partial_rotary_factor") ? scaling : json, "partial_rotary_factor", 1);
      if (partial != 1) {
        throw refuse("partial_rotary_factor " + partial + " is not supported");
      }
      if (!scaling.isObject()) {
        if (!scaling.isMissingNode() && !scaling.isNull()) {
          throw refuse((isNew ? "rope_parameters" : "rope_scaling") + " is not an object");
        }
        return new RotaryEmbedding(theta, headDim, new RotaryEmbedding.Unscaled());
      }
      if (isNew && !scaling.isEmpty() && scaling.elements().next().isObject()) {
        throw refuse("rope_parameters per layer type are not supported");
      }
      String type = scaling.path("rope_type").asText(scaling.path("type").asText("default"));
      RotaryEmbedding.Scaling scale =
          switch (type) {
            case "default" -> new RotaryEmbedding.Unscaled();
            case "linear" -> new RotaryEmbedding.Linear(factor(scaling, "factor"));
            case "llama3" -> {
              double low = factor(scaling, "low_freq_factor");
              double high = factor(scaling, "high_freq_factor");
              if (high <= low) {
                throw refuse("high_freq_factor " + high + " is not above low_freq_factor " + low);
              }
              yield new RotaryEmbedding.Llama3(
                  factor(scaling, "factor"),
                  low,
                  high,
                  factor(scaling, "original_max_position_embeddings"));
            }
            default ->
                throw refuse(
                    "rope scaling "
                        + type
                        + " is not supported; supported are default, linear, llama3");
          };
      return new RotaryEmbedding(theta, headDim, scale);
    }

    private double factor(JsonNode node, String key) {
      double value = number(node, key, Double.NaN);
      if (!(value > 0) || Double.isInfinite(value)) {
        throw refuse(
            "rope scaling needs a positive "
                + key
                + (node.has(key) ? ", not " + node.get(key) : ""));
      }
      return value;
    }

    private boolean present(String key) {
      return json.hasNonNull(key);
    }

    /** A switch of the architecture, or what holds for those that do not have it. */
    private boolean flag(Architecture architecture, String key, boolean fallback) {
      return architecture.reads(key) ? flag(key, fallback) : fallback;
    }

    private boolean flag(String key, boolean fallback) {
      JsonNode node = json.path(key);
      if (node.isMissingNode() || node.isNull()) {
        return fallback;
      }
      if (!node.isBoolean()) {
        throw refuse(key + " is " + node + ", not true or false");
      }
      return node.booleanValue();
    }

    private double number(JsonNode parent, String key, double fallback) {
      JsonNode node = parent.path(key);
      if (node.isMissingNode() || node.isNull()) {
        return fallback;
      }
      if (!node.isNumber()) {
        throw refuse(key + " is " + node + ", not a number");
      }
      return node.doubleValue();
    }

    private int positive(String key) {
      if (!present(key)) {
        throw refuse(key + " is missing");
      }
      return positive(key, 0);
    }

    private int positive(String key, int fallback) {
      JsonNode node = json.path(key);
      if (node.isMissingNode() || node.isNull()) {
        return fallback;
      }
      if (!node.isIntegralNumber() || !node.canConvertToInt() || node.intValue() < 1) {
        throw refuse(key + " is " + node + ", not a positive whole number");
      }
      return node.intValue();
    }

    private int wholeNumber(String key, int fallback) {
      JsonNode node = json.path(key);
      if (node.isMissingNode() || node.isNull()) {
        return fallback;
      }
      if (!node.isIntegralNumber() || !node.canConvertToInt() || node.intValue() < 0) {
        throw refuse(key + " is " + node + ", not a whole number");
      }
      return node.intValue();
    }

    private MalformedCheckpointException refuse(String why) {
      return new MalformedCheckpointException(
          "Cannot use model " + source + ": " + why + " (config.json)");
    }
  }
}
