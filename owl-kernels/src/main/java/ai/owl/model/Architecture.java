package ai.owl.model;

import static ai.owl.model.LinearRole.DOWN_PROJ;
import static ai.owl.model.LinearRole.GATE_PROJ;
import static ai.owl.model.LinearRole.GATE_UP_PROJ;
import static ai.owl.model.LinearRole.K_PROJ;
import static ai.owl.model.LinearRole.O_PROJ;
import static ai.owl.model.LinearRole.QKV_PROJ;
import static ai.owl.model.LinearRole.Q_PROJ;
import static ai.owl.model.LinearRole.UP_PROJ;
import static ai.owl.model.LinearRole.V_PROJ;
import static java.util.Map.entry;

import ai.owl.kernel.Activation;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A family of checkpoints that this program can run: what it calls its tensors, which keys its
 * configuration has, and what holds where the configuration is silent. The computation is one for
 * all ({@link DecoderBlock}); an architecture says which of its parts there are.
 */
public enum Architecture {
  /** LLaMA 1, 2 and 3, Vicuna, and others that keep the class. */
  LLAMA(
      new Traits("LlamaForCausalLM", "llama")
          .biasIf("attention_bias", false, Q_PROJ, K_PROJ, V_PROJ, O_PROJ)
          .biasIf("mlp_bias", false, GATE_PROJ, UP_PROJ, DOWN_PROJ)),

  /** Mistral: LLaMA with other defaults, and attention that may see a window only. */
  MISTRAL(
      new Traits("MistralForCausalLM", "mistral")
          .biasIf("attention_bias", false, Q_PROJ, K_PROJ, V_PROJ, O_PROJ)
          .biasIf("mlp_bias", false, GATE_PROJ, UP_PROJ, DOWN_PROJ)
          .keyValueHeads(8)
          .window(SlidingWindows.IN_EVERY_BLOCK, 4096)
          .maxPositions(131_072)),

  /** OPT (arXiv 2205.01068): learned positions, layer norms, biases, ReLU without a gate. */
  OPT(
      new Traits("OPTForCausalLM", "opt")
          .base("model.decoder.")
          .part(ModelPart.POSITION_EMBEDDING, "model.decoder.embed_positions.weight")
          .part(ModelPart.PROJECT_IN, "model.decoder.project_in.weight")
          .part(ModelPart.PROJECT_OUT, "model.decoder.project_out.weight")
          .finalNorm("model.decoder.final_layer_norm")
          .norms("self_attn_layer_norm", "final_layer_norm")
          .linears(
              entry(K_PROJ, "self_attn.k_proj"),
              entry(V_PROJ, "self_attn.v_proj"),
              entry(Q_PROJ, "self_attn.q_proj"),
              entry(O_PROJ, "self_attn.out_proj"),
              entry(UP_PROJ, "fc1"),
              entry(DOWN_PROJ, "fc2"))
          .biasIf("enable_bias", true, K_PROJ, V_PROJ, Q_PROJ, O_PROJ, UP_PROJ, DOWN_PROJ)
          .layerNorm("", 1e-5)
          .activation("activation_function", Activation.RELU)
          .learnedPositions(2)
          .intermediateSize("ffn_dim")
          .doesNotRead("num_key_value_heads", "head_dim")
          .reads(
              "do_layer_norm_before",
              "_remove_final_layer_norm",
              "layer_norm_elementwise_affine",
              "word_embed_proj_dim")
          .tied()),

  /** Qwen2 and Qwen2.5: LLaMA with biases on queries, keys and values alone. */
  QWEN2(
      new Traits("Qwen2ForCausalLM", "qwen2")
          .bias(Q_PROJ, K_PROJ, V_PROJ)
          .keyValueHeads(32)
          .window(SlidingWindows.IN_UPPER_BLOCKS, 4096)
          .maxPositions(32_768)),

  /** Qwen3: LLaMA with norms on the queries and keys of each head. */
  QWEN3(
      new Traits("Qwen3ForCausalLM", "qwen3")
          .norm(NormRole.QUERY, "self_attn.q_norm")
          .norm(NormRole.KEY, "self_attn.k_norm")
          .biasIf("attention_bias", false, Q_PROJ, K_PROJ, V_PROJ, O_PROJ)
          .keyValueHeads(32)
          .headDim(128)
          .window(SlidingWindows.IN_UPPER_BLOCKS, 4096)
          .maxPositions(32_768)),

  /** Phi-3 and Phi-4: LLaMA with two fused linear layers. */
  PHI3(
      new Traits("Phi3ForCausalLM", "phi3")
          .linears(
              entry(O_PROJ, "self_attn.o_proj"),
              entry(QKV_PROJ, "self_attn.qkv_proj"),
              entry(GATE_UP_PROJ, "mlp.gate_up_proj"),
              entry(DOWN_PROJ, "mlp.down_proj"))
          .epsilon("rms_norm_eps", 1e-5)
          .window(SlidingWindows.IN_EVERY_BLOCK, 0)
          .maxPositions(4096)),

  /**
   * Gemma 2 (arXiv 2408.00118): norms on both sides, bounded scores, every other block a window.
   */
  GEMMA2(
      new Traits("Gemma2ForCausalLM", "gemma2")
          .norm(NormRole.ATTENTION_OUTPUT, "post_attention_layernorm")
          .norm(NormRole.MLP_INPUT, "pre_feedforward_layernorm")
          .norm(NormRole.MLP_OUTPUT, "post_feedforward_layernorm")
          .normKind(NormKind.RMS_NORM_AROUND_ONE)
          .activation("hidden_activation", Activation.GELU_TANH)
          .biasIf("attention_bias", false, Q_PROJ, K_PROJ, V_PROJ, O_PROJ)
          .keyValueHeads(4)
          .headDim(256)
          .window(SlidingWindows.IN_EVERY_OTHER_BLOCK, 4096)
          .maxPositions(8192)
          .reads(
              "query_pre_attn_scalar",
              "attn_logit_softcapping",
              "final_logit_softcapping",
              "use_bidirectional_attention")
          .scalesEmbeddings()
          .tied()),

  /** The vision transformer (arXiv 2010.11929), as a classifier of images. */
  VIT(
      new Traits("ViTForImageClassification", "vit")
          .withoutParts("vit.encoder.layer.")
          .part(ModelPart.PATCH_PROJECTION, "vit.embeddings.patch_embeddings.projection.weight")
          .part(ModelPart.PATCH_BIAS, "vit.embeddings.patch_embeddings.projection.bias")
          .part(ModelPart.CLASS_TOKEN, "vit.embeddings.cls_token")
          .part(ModelPart.POSITION_EMBEDDING, "vit.embeddings.position_embeddings")
          .finalNorm("vit.layernorm")
          .part(ModelPart.HEAD, "classifier.weight")
          .part(ModelPart.HEAD_BIAS, "classifier.bias")
          .norms("layernorm_before", "layernorm_after")
          .linears(
              entry(Q_PROJ, "attention.attention.query"),
              entry(K_PROJ, "attention.attention.key"),
              entry(V_PROJ, "attention.attention.value"),
              entry(O_PROJ, "attention.output.dense"),
              entry(UP_PROJ, "intermediate.dense"),
              entry(DOWN_PROJ, "output.dense"))
          .biasIf("qkv_bias", true, Q_PROJ, K_PROJ, V_PROJ)
          .bias(O_PROJ, UP_PROJ, DOWN_PROJ)
          .layerNorm("layer_norm_eps", 1e-12)
          .activation("hidden_act", Activation.GELU)
          .learnedPositions(0)
          .doesNotRead("num_key_value_heads", "head_dim")
          .reads("patch_size"));

  /** Which blocks see a window of the past only. */
  enum SlidingWindows {
    /** None, and a configuration that wants one is refused. */
    NOWHERE,
    /** All, unless {@code sliding_window} is null. */
    IN_EVERY_BLOCK,
    /**
     * If {@code use_sliding_window}: those that {@code layer_types} says, or else those from {@code
     * max_window_layers} on.
     */
    IN_UPPER_BLOCKS,
    /** Those that {@code layer_types} says, or else the first, the third, and so on. */
    IN_EVERY_OTHER_BLOCK
  }

  /**
   * When a linear layer has a bias.
   *
   * @param key of the configuration; empty where nothing can switch it
   * @param fallback what holds where the key is missing
   */
  record Bias(String key, boolean fallback) {}

  private final Traits traits;

  Architecture(Traits traits) {
    this.traits = traits;
  }

  /** The entry of {@code architectures} in config.json. */
  public String className() {
    return traits.className;
  }

  /**
   * The prunable linear layers of a block, by what they are called there, such as {@code
   * self_attn.q_proj}, in the order of the network's published code.
   */
  public Map<LinearRole, String> linears() {
    return Collections.unmodifiableMap(traits.linears);
  }

  String modelType() {
    return traits.modelType;
  }

  /** Names of the tensors outside the blocks. Not every configuration has every one. */
  Map<ModelPart, String> parts() {
    return Collections.unmodifiableMap(traits.parts);
  }

  /** Name of the norm after the last block. */
  String finalNorm() {
    return traits.finalNorm;
  }

  /** What the names of all tensors of a block begin with. */
  String blockPrefix(int block) {
    return traits.blocks + block + ".";
  }

  /** Names within a block of its norms, in an architecture that normalizes on the way in. */
  Map<NormRole, String> norms() {
    return Collections.unmodifiableMap(traits.norms);
  }

  NormKind normKind() {
    return traits.normKind;
  }

  /** Key of the norms' epsilon; empty where nothing can change it. */
  String epsilonKey() {
    return traits.epsilonKey;
  }

  double defaultEpsilon() {
    return traits.defaultEpsilon;
  }

  String activationKey() {
    return traits.activationKey;
  }

  Activation defaultActivation() {
    return traits.defaultActivation;
  }

  String intermediateSizeKey() {
    return traits.intermediateSizeKey;
  }

  /** The layers that can have a bias. */
  Map<LinearRole, Bias> biases() {
    return traits.biases;
  }

  /** Key and value heads where config.json is silent; 0 for as many as query heads. */
  int defaultKeyValueHeads() {
    return traits.keyValueHeads;
  }

  /** Width of a head where config.json is silent; 0 for hidden_size / num_attention_heads. */
  int defaultHeadDim() {
    return traits.headDim;
  }

  SlidingWindows slidingWindows() {
    return traits.windows;
  }

  /** Attention window where config.json is silent; 0 for none. */
  int defaultSlidingWindow() {
    return traits.slidingWindow;
  }

  /** {@code max_position_embeddings} where config.json is silent. */
  int defaultMaxPositions() {
    return traits.maxPositions;
  }

  /** Rows before that of position 0 in a table of learned positions; negative for rotary ones. */
  int positionOffset() {
    return traits.positionOffset;
  }

  /** Whether token embeddings are multiplied by the square root of their width. */
  boolean scalesEmbeddings() {
    return traits.scalesEmbeddings;
  }

  /** {@code tie_word_embeddings} where config.json is silent. */
  boolean tiesByDefault() {
    return traits.tied;
  }

  /** Whether the network heeds this key; where it does not, there may be anything under it. */
  boolean reads(String key) {
    return traits.keys.contains(key);
  }

  static String supported() {
    return Arrays.stream(values()).map(Architecture::className).collect(Collectors.joining(", "));
  }

  /** What an architecture is described by; at first, LLaMA's. */
  private static final class Traits {
    private final String className;
    private final String modelType;
    private String blocks;
    private final Map<ModelPart, String> parts = new EnumMap<>(ModelPart.class);
    private String finalNorm;
    private final Map<NormRole, String> norms = new EnumMap<>(NormRole.class);
    private final Map<LinearRole, String> linears = new LinkedHashMap<>();
    private final Map<LinearRole, Bias> biases = new EnumMap<>(LinearRole.class);
    private NormKind normKind = NormKind.RMS_NORM;
    private String epsilonKey = "rms_norm_eps";
    private double defaultEpsilon = 1e-6;
    private String activationKey = "hidden_act";
    private Activation defaultActivation = Activation.SILU;
    private String intermediateSizeKey = "intermediate_size";
    private int keyValueHeads;
    private int headDim;
    private SlidingWindows windows = SlidingWindows.NOWHERE;
    private int slidingWindow;
    private int maxPositions = 2048;
    private int positionOffset = -1;
    private boolean scalesEmbeddings;
    private boolean tied;
    private final Set<String> keys = new HashSet<>(Set.of("num_key_value_heads", "head_dim"));

    Traits(String className, String modelType) {
      this.className = className;
      this.modelType = modelType;
      base("model.");
      finalNorm("model.norm");
      norms("input_layernorm", "post_attention_layernorm");
      linears(
          entry(Q_PROJ, "self_attn.q_proj"),
          entry(K_PROJ, "self_attn.k_proj"),
          entry(V_PROJ, "self_attn.v_proj"),
          entry(O_PROJ, "self_attn.o_proj"),
          entry(GATE_PROJ, "mlp.gate_proj"),
          entry(UP_PROJ, "mlp.up_proj"),
          entry(DOWN_PROJ, "mlp.down_proj"));
    }

    Traits withoutParts(String blocks) {
      this.blocks = blocks;
      parts.clear();
      return this;
    }

    Traits base(String prefix) {
      blocks = prefix + "layers.";
      part(ModelPart.HEAD, "lm_head.weight");
      return part(ModelPart.TOKEN_EMBEDDING, prefix + "embed_tokens.weight");
    }

    Traits part(ModelPart part, String name) {
      parts.put(part, name);
      return this;
    }

    Traits finalNorm(String name) {
      finalNorm = name;
      return this;
    }

    Traits norms(String attentionInput, String mlpInput) {
      norm(NormRole.ATTENTION_INPUT, attentionInput);
      return norm(NormRole.MLP_INPUT, mlpInput);
    }

    Traits norm(NormRole role, String name) {
      norms.put(role, name);
      return this;
    }

    @SafeVarargs
    final Traits linears(Map.Entry<LinearRole, String>... inPublishedOrder) {
      linears.clear();
      for (Map.Entry<LinearRole, String> linear : inPublishedOrder) {
        linears.put(linear.getKey(), linear.getValue());
      }
      return this;
    }

    Traits bias(LinearRole... roles) {
      return biasIf("", true, roles);
    }

    Traits biasIf(String key, boolean fallback, LinearRole... roles) {
      for (LinearRole role : roles) {
        biases.put(role, new Bias(key, fallback));
      }
      return this;
    }

    Traits normKind(NormKind kind) {
      normKind = kind;
      return this;
    }

    Traits layerNorm(String epsilonKey, double defaultEpsilon) {
      return normKind(NormKind.LAYER_NORM).epsilon(epsilonKey, defaultEpsilon);
    }

    Traits epsilon(String key, double fallback) {
      epsilonKey = key;
      defaultEpsilon = fallback;
      return this;
    }

    Traits activation(String key, Activation fallback) {
      activationKey = key;
      defaultActivation = fallback;
      return this;
    }

    Traits intermediateSize(String key) {
      intermediateSizeKey = key;
      return this;
    }

    Traits keyValueHeads(int fallback) {
      keyValueHeads = fallback;
      return this;
    }

    Traits headDim(int fallback) {
      headDim = fallback;
      return this;
    }

    Traits window(SlidingWindows where, int fallback) {
      windows = where;
      slidingWindow = fallback;
      return this;
    }

    Traits maxPositions(int fallback) {
      maxPositions = fallback;
      return this;
    }

    Traits learnedPositions(int offset) {
      positionOffset = offset;
      return this;
    }

    Traits scalesEmbeddings() {
      scalesEmbeddings = true;
      return this;
    }

    Traits tied() {
      tied = true;
      return this;
    }

    Traits reads(String... more) {
      keys.addAll(Set.of(more));
      return this;
    }

    Traits doesNotRead(String... less) {
      keys.removeAll(Set.of(less));
      return this;
    }
  }
}
