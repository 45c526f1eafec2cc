package ai.owl.model;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/**
 * A family of checkpoints that this program can run: how its configuration spells things, and what
 * it calls its tensors. The computation itself is one for all: pre-norm blocks of rotary
 * grouped-query attention and a gated feed-forward part.
 */
public enum Architecture {
  /** LLaMA 1, 2 and 3, Vicuna, and others that keep the class. */
  LLAMA("LlamaForCausalLM", "llama", 0, 0, 2048),
  /** Mistral: LLaMA with other defaults, and attention that may see a window only. */
  MISTRAL("MistralForCausalLM", "mistral", 8, 4096, 131_072);

  private final String className;
  private final String modelType;
  private final int defaultKeyValueHeads;
  private final int defaultSlidingWindow;
  private final int defaultMaxPositions;

  Architecture(
      String className,
      String modelType,
      int defaultKeyValueHeads,
      int defaultSlidingWindow,
      int defaultMaxPositions) {
    this.className = className;
    this.modelType = modelType;
    this.defaultKeyValueHeads = defaultKeyValueHeads;
    this.defaultSlidingWindow = defaultSlidingWindow;
    this.defaultMaxPositions = defaultMaxPositions;
  }

  /** The entry of {@code architectures} in config.json. */
  public String className() {
    return className;
  }

  String modelType() {
    return modelType;
  }

  /** Key and value heads where config.json is silent; 0 for as many as query heads. */
  int defaultKeyValueHeads() {
    return defaultKeyValueHeads;
  }

  /** Attention window where config.json is silent; 0 for none. */
  int defaultSlidingWindow() {
    return defaultSlidingWindow;
  }

  /** {@code max_position_embeddings} where config.json is silent. */
  int defaultMaxPositions() {
    return defaultMaxPositions;
  }

  String embedding() {
    return "model.embed_tokens.weight";
  }

  String finalNorm() {
    return "model.norm.weight";
  }

  String languageModelHead() {
    return "lm_head.weight";
  }

  /** What the names of all tensors of a block begin with. */
  String blockPrefix(int block) {
    return "model.layers." + block + ".";
  }

  String attentionNorm() {
    return "input_layernorm.weight";
  }

  String mlpNorm() {
    return "post_attention_layernorm.weight";
  }

  static String supported() {
    return Arrays.stream(values()).map(Architecture::className).collect(Collectors.joining(", "));
  }

  /** The linear layers of a block, in the order in which they are used. */
  List<LinearRole> linears() {
    return List.of(LinearRole.values());
  }
}
