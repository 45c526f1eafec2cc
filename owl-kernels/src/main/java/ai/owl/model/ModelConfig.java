package ai.owl.model;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.kernel.RotaryEmbedding;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;

/**
 * What {@code config.json} says of the network, in the spellings of old and new transformers
 * versions. Whatever would change the computation and is not supported here is refused by name,
 * never ignored.
 *
 * @param keyValueHeads number of key and value heads; fewer than {@code heads} with grouped queries
 * @param slidingWindow how many positions a token attends to; 0 for all
 * @param attentionBias whether q_proj, k_proj, v_proj and o_proj have biases
 * @param mlpBias whether gate_proj, up_proj and down_proj have biases
 * @param tiedEmbeddings whether the token embedding is also the language-model head
 */
public record ModelConfig(
    Architecture architecture,
    int hiddenSize,
    int intermediateSize,
    int blocks,
    int heads,
    int keyValueHeads,
    int headDim,
    int vocabSize,
    int maxPositions,
    float normEpsilon,
    RotaryEmbedding rotary,
    int slidingWindow,
    boolean attentionBias,
    boolean mlpBias,
    boolean tiedEmbeddings)
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

  boolean hasBias(LinearRole role) {
    return switch (role) {
      case Q_PROJ, K_PROJ, V_PROJ, O_PROJ -> attentionBias;
      case GATE_PROJ, UP_PROJ, DOWN_PROJ -> mlpBias;
    };
  }

  int inFeatures(LinearRole role) {
    return switch (role) {
      case O_PROJ -> heads * headDim;
      case DOWN_PROJ -> intermediateSize;
      default -> hiddenSize;
    };
  }

  int outFeatures(LinearRole role) {
    return switch (role) {
      case Q_PROJ -> heads * headDim;
      case K_PROJ, V_PROJ -> keyValueHeads * headDim;
      case GATE_PROJ, UP_PROJ -> intermediateSize;
      default -> hiddenSize;
    };
  }

  private record Parser(JsonNode json, String source) {
    ModelConfig parse() {
      if (!json.isObject()) {
        throw refuse("it is not a JSON object");
      }
      Architecture architecture = architecture();
      refuseWhatIsNotSupported();
      int hidden = positive("hidden_size");
      int heads = positive("num_attention_heads");
      // Where the key is there but null, transformers takes as many as query heads.
      int defaultKeyValueHeads =
          architecture.defaultKeyValueHeads() == 0 || json.has("num_key_value_heads")
              ? heads
              : architecture.defaultKeyValueHeads();
      int keyValueHeads = positive("num_key_value_heads", defaultKeyValueHeads);
      if (heads % keyValueHeads != 0) {
        throw refuse(
            "num_attention_heads "
                + heads
                + " is no multiple of num_key_value_heads "
                + keyValueHeads);
      }
      if (!present("head_dim") && hidden % heads != 0) {
        throw refuse(
            "hidden_size "
                + hidden
                + " is no multiple of num_attention_heads "
                + heads
                + " and head_dim is not given");
      }
      int headDim = positive("head_dim", hidden / heads);
      if (headDim % 2 != 0) {
        throw refuse("head_dim " + headDim + " is odd, which rotary embeddings do not allow");
      }
      if ((long) heads * headDim > 1 << 24) {
        throw refuse(
            "num_attention_heads " + heads + " times head_dim " + headDim + " is beyond any model");
      }
      double epsilon = number(json, "rms_norm_eps", 1e-6);
      if (!(epsilon >= 0 && epsilon < 1)) {
        throw refuse("rms_norm_eps is " + epsilon);
      }
      return new ModelConfig(
          architecture,
          hidden,
          positive("intermediate_size"),
          positive("num_hidden_layers"),
          heads,
          keyValueHeads,
          headDim,
          positive("vocab_size"),
          positive("max_position_embeddings", architecture.defaultMaxPositions()),
          (float) epsilon,
          rotary(headDim),
          slidingWindow(architecture),
          flag("attention_bias"),
          flag("mlp_bias"),
          flag("tie_word_embeddings"));
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
      String activation = json.path("hidden_act").asText("silu");
      if (!activation.equals("silu") && !activation.equals("swish")) {
        throw refuse("hidden_act " + activation + " is not supported; supported is silu");
      }
      if (json.path("is_encoder_decoder").asBoolean(false)) {
        throw refuse("is_encoder_decoder: encoder-decoder models are not supported");
      }
      JsonNode types = json.path("layer_types");
      for (JsonNode type : types) {
        if (!type.asText().equals(types.get(0).asText())) {
          throw refuse(
              "layer_types mixes "
                  + types.get(0).asText()
                  + " and "
                  + type.asText()
                  + ", which is not supported");
        }
      }
    }

    private int slidingWindow(Architecture architecture) {
      if (architecture.defaultSlidingWindow() == 0) {
        if (present("sliding_window")
            || "sliding_attention".equals(json.path("layer_types").path(0).asText())) {
          throw refuse("sliding_window is not supported for " + architecture.className());
        }
        return 0;
      }
      // Mistral's class knows no use_sliding_window: transformers goes by sliding_window alone.
      if (json.path("sliding_window").isNull()) {
        return 0;
      }
      if ("full_attention".equals(json.path("layer_types").path(0).asText())) {
        throw refuse(
            "layer_types says full_attention, sliding_window "
                + positive("sliding_window", architecture.defaultSlidingWindow())
                + ": set sliding_window to null, or remove layer_types");
      }
      return positive("sliding_window", architecture.defaultSlidingWindow());
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

    private boolean flag(String key) {
      JsonNode node = json.path(key);
      if (node.isMissingNode() || node.isNull()) {
        return false;
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

    private MalformedCheckpointException refuse(String why) {
      return new MalformedCheckpointException(
          "Cannot use model " + source + ": " + why + " (config.json)");
    }
  }
}
