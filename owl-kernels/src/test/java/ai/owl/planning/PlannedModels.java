package ai.owl.planning;

import ai.owl.model.ModelConfig;
import ai.owl.model.ModelLayout;
import ai.owl.tensor.DType;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;

/** Published shapes, of which no weights are needed. */
final class PlannedModels {
  private PlannedModels() {}

  static ModelLayout llama7b() {
    return llama(32, 4096, 11008, 32, 32);
  }

  static ModelLayout llama13b() {
    return llama(40, 5120, 13824, 40, 40);
  }

  /** Published as 30B, 33B or 32.5B. */
  static ModelLayout llama30b() {
    return llama(60, 6656, 17920, 52, 52);
  }

  static ModelLayout llama65b() {
    return llama(80, 8192, 22016, 64, 64);
  }

  /** With grouped queries, as LLaMA-2-70B. */
  static ModelLayout llama70b() {
    return llama(80, 8192, 28672, 64, 8);
  }

  static ModelLayout opt125m() {
    return layout(
        """
        {"architectures": ["OPTForCausalLM"], "hidden_size": 768, "ffn_dim": 3072,
         "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 50272,
         "max_position_embeddings": 2048}
        """);
  }

  private static ModelLayout llama(
      int blocks, int hidden, int intermediate, int heads, int keyValueHeads) {
    return layout(
        String.format(
            """
            {"architectures": ["LlamaForCausalLM"], "hidden_size": %d, "intermediate_size": %d,
             "num_hidden_layers": %d, "num_attention_heads": %d, "num_key_value_heads": %d,
             "vocab_size": 32000, "rms_norm_eps": 1e-6}
            """,
            hidden, intermediate, blocks, heads, keyValueHeads));
  }

  private static ModelLayout layout(String config) {
    try {
      return ModelLayout.ofShapes(
          ModelConfig.parse(new ObjectMapper().readTree(config), "test"), DType.F16, "f");
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }
}
