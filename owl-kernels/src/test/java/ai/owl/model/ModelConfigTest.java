package ai.owl.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.kernel.Activation;
import ai.owl.kernel.RotaryEmbedding.Linear;
import ai.owl.kernel.RotaryEmbedding.Llama3;
import ai.owl.kernel.RotaryEmbedding.Unscaled;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelConfigTest {
  private static final String LLAMA =
      """
      {"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 11008,
       "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
      """;
  private static final String MISTRAL = LLAMA.replace("Llama", "Mistral");
  private static final String QWEN2 = LLAMA.replace("Llama", "Qwen2");
  private static final String QWEN3 = LLAMA.replace("Llama", "Qwen3");
  private static final String GEMMA2 = LLAMA.replace("Llama", "Gemma2");
  private static final String VIT =
      """
      {"architectures": ["ViTForImageClassification"], "hidden_size": 768,
       "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
      """;
  private static final String PHI3 = LLAMA.replace("Llama", "Phi3");
  private static final String OPT =
      """
      {"architectures": ["OPTForCausalLM"], "hidden_size": 768, "ffn_dim": 3072,
       "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 50272}
      """;

  @Test
  void readsTheFirstLlamas() {
    ModelConfig config =
        parse(LLAMA, "{\"max_position_embeddings\": 1024, \"rms_norm_eps\": 1e-5}");
    assertThat(config.architecture()).isEqualTo(Architecture.LLAMA);
    assertThat(config.hiddenSize()).isEqualTo(4096);
    assertThat(config.intermediateSize()).isEqualTo(11008);
    assertThat(config.blocks()).isEqualTo(32);
    assertThat(config.heads()).isEqualTo(32);
    assertThat(config.headDim()).isEqualTo(128);
    assertThat(config.vocabSize()).isEqualTo(32000);
    assertThat(config.maxPositions()).isEqualTo(1024);
    assertThat(config.normEpsilon()).isEqualTo(1e-5f);
  }

  @Test
  void knowsTheDefaultsOfLlama() {
    ModelConfig config = parse(LLAMA, "{}");
    assertThat(config.keyValueHeads()).isEqualTo(32);
    assertThat(config.slidingWindow(0)).isZero();
    assertThat(config.maxPositions()).isEqualTo(2048);
    assertThat(config.normEpsilon()).isEqualTo(1e-6f);
    assertThat(config.rotary().orElseThrow().theta()).isEqualTo(10_000);
    assertThat(config.rotary().orElseThrow().scaling()).isEqualTo(new Unscaled());
    assertThat(config.biases()).isEmpty();
    assertThat(config.tiedEmbeddings()).isFalse();
  }

  @Test
  void knowsTheDefaultsOfMistral() {
    ModelConfig config = parse(MISTRAL, "{}");
    assertThat(config.architecture()).isEqualTo(Architecture.MISTRAL);
    assertThat(config.keyValueHeads()).isEqualTo(8);
    assertThat(config.slidingWindow(0)).isEqualTo(4096);
    assertThat(config.normEpsilon()).isEqualTo(1e-6f);
    assertThat(config.rotary().orElseThrow().theta()).isEqualTo(10_000);
  }

  @Test
  void knowsTheDefaultsOfOpt() {
    ModelConfig config = parse(OPT, "{}");
    assertThat(config.architecture()).isEqualTo(Architecture.OPT);
    assertThat(config.intermediateSize()).isEqualTo(3072);
    assertThat(config.embeddingSize()).isEqualTo(768);
    assertThat(config.headDim()).isEqualTo(64);
    assertThat(config.keyValueHeads()).isEqualTo(12);
    assertThat(config.maxPositions()).isEqualTo(2048);
    assertThat(config.norm()).isEqualTo(NormKind.LAYER_NORM);
    assertThat(config.normEpsilon()).isEqualTo(1e-5f);
    assertThat(config.normGains()).isTrue();
    assertThat(config.normalizesInputs()).isTrue();
    assertThat(config.finalNorm()).isTrue();
    assertThat(config.activation()).isEqualTo(Activation.RELU);
    assertThat(config.isGated()).isFalse();
    assertThat(config.positions()).isEqualTo(new PositionEncoding.Learned(2));
    assertThat(config.rotary()).isEmpty();
    assertThat(config.slidingWindows()).hasSize(12).containsOnly(0);
    assertThat(config.biases())
        .containsExactlyInAnyOrderElementsOf(Architecture.OPT.linears().keySet());
    assertThat(config.tiedEmbeddings()).isTrue();
  }

  @Test
  void readsTheSwitchesOfOpt() {
    assertThat(parse(OPT, "{\"enable_bias\": false}").biases()).isEmpty();
    assertThat(parse(OPT, "{\"layer_norm_elementwise_affine\": false}").normGains()).isFalse();
    assertThat(parse(OPT, "{\"word_embed_proj_dim\": 512}").embeddingSize()).isEqualTo(512);
    assertThat(parse(OPT, "{\"word_embed_proj_dim\": null}").embeddingSize()).isEqualTo(768);
    assertThat(parse(OPT, "{\"tie_word_embeddings\": false}").tiedEmbeddings()).isFalse();
    assertThat(parse(OPT, "{\"activation_function\": \"gelu\"}").activation())
        .isEqualTo(Activation.GELU);
    ModelConfig postNorm = parse(OPT, "{\"do_layer_norm_before\": false}");
    assertThat(postNorm.normalizesInputs()).isFalse();
    assertThat(postNorm.finalNorm()).isFalse();
    ModelConfig removed = parse(OPT, "{\"_remove_final_layer_norm\": true}");
    assertThat(removed.normalizesInputs()).isTrue();
    assertThat(removed.finalNorm()).isFalse();
  }

  /** transformers reads none of these for OPT, and all of them for others. */
  @Test
  void looksAtNoKeyThatTheClassDoesNotHave() {
    String foreign =
        """
        {"num_key_value_heads": 5, "head_dim": 7, "hidden_act": "silu", "rms_norm_eps": 0.5,
         "intermediate_size": 3, "attention_bias": false, "rope_scaling": {"type": "yarn"}}
        """;
    assertThat(parse(OPT, foreign)).isEqualTo(parse(OPT, "{}"));
    String foreignToLlama =
        """
        {"do_layer_norm_before": false, "_remove_final_layer_norm": true, "enable_bias": true,
         "layer_norm_elementwise_affine": false, "word_embed_proj_dim": 7, "ffn_dim": 3,
         "activation_function": "relu", "use_sliding_window": true, "max_window_layers": 0}
        """;
    assertThat(parse(LLAMA, foreignToLlama)).isEqualTo(parse(LLAMA, "{}"));
  }

  @Test
  void takesOddHeadsWhereNothingIsRotated() {
    assertThat(parse(OPT, "{\"num_attention_heads\": 256}").headDim()).isEqualTo(3);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "num_attention_heads | 7 | hidden_size 768 is no multiple of num_attention_heads 7 (config",
        "ffn_dim | null | ffn_dim is missing",
        "word_embed_proj_dim | 0 | word_embed_proj_dim is 0, not a positive whole number",
        "do_layer_norm_before | 1 | do_layer_norm_before is 1, not true or false",
        "enable_bias | \"no\" | enable_bias is \"no\", not true or false",
        "_remove_final_layer_norm | 0 | _remove_final_layer_norm is 0, not true or false",
        "layer_norm_elementwise_affine | 0 | layer_norm_elementwise_affine is 0, not true or",
        "activation_function | \"tanh\" | activation_function tanh is not supported; supported are",
        "sliding_window | 7 | sliding_window is not supported for OPTForCausalLM",
      })
  void refusesAnOptByName(String key, String value, String why) {
    ObjectNode json = (ObjectNode) json(OPT);
    json.set(key, json(value));
    assertRefused(json, why);
  }

  @Test
  void knowsTheDefaultsOfQwen2() {
    ModelConfig config = parse(QWEN2, "{}");
    assertThat(config.architecture()).isEqualTo(Architecture.QWEN2);
    assertThat(config.keyValueHeads()).isEqualTo(32);
    assertThat(config.headDim()).isEqualTo(128);
    assertThat(config.maxPositions()).isEqualTo(32_768);
    assertThat(config.normEpsilon()).isEqualTo(1e-6f);
    assertThat(config.activation()).isEqualTo(Activation.SILU);
    assertThat(config.isGated()).isTrue();
    assertThat(config.biases())
        .containsExactlyInAnyOrder(LinearRole.Q_PROJ, LinearRole.K_PROJ, LinearRole.V_PROJ);
    assertThat(config.slidingWindows()).hasSize(32).containsOnly(0);
    assertThat(config.tiedEmbeddings()).isFalse();
    // The class has its biases whatever the configuration says.
    assertThat(parse(QWEN2, "{\"attention_bias\": false, \"mlp_bias\": true}").biases())
        .isEqualTo(config.biases());
  }

  @Test
  void knowsTheDefaultsOfQwen3() {
    ModelConfig config = parse(QWEN3, "{\"hidden_size\": 1000}");
    assertThat(config.architecture()).isEqualTo(Architecture.QWEN3);
    assertThat(config.keyValueHeads()).isEqualTo(32);
    assertThat(config.headDim()).isEqualTo(128); // not hidden_size / num_attention_heads
    assertThat(config.maxPositions()).isEqualTo(32_768);
    assertThat(config.biases()).isEmpty();
    assertThat(config.norms())
        .containsEntry(NormRole.QUERY, "self_attn.q_norm")
        .containsEntry(NormRole.KEY, "self_attn.k_norm");
    assertThat(config.width(NormRole.KEY)).isEqualTo(128);
    assertThat(parse(QWEN3, "{\"attention_bias\": true}").biases())
        .containsExactlyInAnyOrder(
            LinearRole.Q_PROJ, LinearRole.K_PROJ, LinearRole.V_PROJ, LinearRole.O_PROJ);
  }

  /** As the classes of transformers 5 resolve it. */
  @ParameterizedTest
  @ValueSource(strings = {"Qwen2", "Qwen3"})
  void givesTheUpperBlocksOfQwenAWindow(String name) {
    String qwen = LLAMA.replace("Llama", name);
    // A window that is not asked for is none.
    assertThat(parse(qwen, "{\"sliding_window\": 100}").slidingWindows()).containsOnly(0);
    ModelConfig silent = parse(qwen, "{\"use_sliding_window\": true}");
    assertThat(silent.slidingWindows().subList(0, 28)).containsOnly(0);
    assertThat(silent.slidingWindows().subList(28, 32)).containsOnly(4096);
    String asked = "{\"use_sliding_window\": true, \"sliding_window\": 100, %s}";
    ModelConfig upper = parse(qwen, asked.formatted("\"max_window_layers\": 30"));
    assertThat(upper.slidingWindow(29)).isZero();
    assertThat(upper.slidingWindow(30)).isEqualTo(100);
    assertThat(parse(qwen, asked.formatted("\"max_window_layers\": 99")).slidingWindows())
        .hasSize(32)
        .containsOnly(0);
    assertThat(parse(qwen, asked.formatted("\"max_window_layers\": 0")).slidingWindows())
        .hasSize(32)
        .containsOnly(100);
    assertThat(
            parse(qwen, "{\"use_sliding_window\": true, \"sliding_window\": null}")
                .slidingWindows())
        .containsOnly(0);
    String types = "\"num_hidden_layers\": 3, \"layer_types\": [%s]";
    String mixed =
        types.formatted("\"sliding_attention\", \"full_attention\", \"sliding_attention\"");
    assertThat(parse(qwen, asked.formatted(mixed)).slidingWindows()).containsExactly(100, 0, 100);
    String full = types.formatted("\"full_attention\", \"full_attention\", \"full_attention\"");
    assertThat(parse(qwen, asked.formatted(full)).slidingWindows()).containsExactly(0, 0, 0);
    assertThat(parse(qwen, "{" + full + "}").slidingWindows()).containsExactly(0, 0, 0);
    assertRefused(merged(qwen, "{" + mixed + "}"), "layer_types has sliding_attention, but there");
    assertRefused(
        merged(qwen, "{\"layer_types\": [\"full_attention\"]}"),
        "layer_types has 1 entries, num_hidden_layers is 32");
    assertRefused(
        merged(qwen, "{\"num_hidden_layers\": 1, \"layer_types\": [\"chunked_attention\"]}"),
        "layer_types has chunked_attention, which is not supported; supported are full_attention,");
    assertRefused(
        merged(qwen, asked.formatted("\"max_window_layers\": -1")),
        "max_window_layers is -1, not a whole number");
    assertRefused(
        merged(qwen, "{\"use_sliding_window\": true, \"sliding_window\": 0}"),
        "sliding_window is 0, not a positive whole number");
    assertRefused(
        merged(qwen, "{\"use_sliding_window\": 1}"), "use_sliding_window is 1, not true or false");
  }

  @Test
  void knowsTheDefaultsOfPhi3() {
    ModelConfig config = parse(PHI3, "{}");
    assertThat(config.architecture()).isEqualTo(Architecture.PHI3);
    assertThat(config.keyValueHeads()).isEqualTo(32);
    assertThat(config.maxPositions()).isEqualTo(4096);
    assertThat(config.normEpsilon()).isEqualTo(1e-5f);
    assertThat(config.slidingWindows()).hasSize(32).containsOnly(0);
    assertThat(config.biases()).isEmpty();
    assertThat(config.isGated()).isTrue();
  }

  @Test
  void addsUpWhatPhi3Fuses() {
    ModelConfig config = parse(PHI3, "{\"num_key_value_heads\": 8}");
    assertThat(config.outFeatures(LinearRole.QKV_PROJ)).isEqualTo(4096 + 2 * 1024);
    assertThat(config.outFeatures(LinearRole.GATE_UP_PROJ)).isEqualTo(2 * 11008);
    assertThat(config.inFeatures(LinearRole.QKV_PROJ)).isEqualTo(4096);
    assertThat(config.inFeatures(LinearRole.GATE_UP_PROJ)).isEqualTo(4096);
  }

  @Test
  void givesEveryBlockOfPhi3ItsWindow() {
    assertThat(parse(PHI3, "{\"sliding_window\": 2047}").slidingWindows()).containsOnly(2047);
    assertThat(parse(PHI3, "{\"sliding_window\": null}").slidingWindows()).containsOnly(0);
  }

  /** Phi-3's long contexts and Phi-4-mini's partial rotation. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "rope_scaling | {\"type\": \"longrope\", \"short_factor\": [1]} | scaling longrope is not",
        "rope_scaling | {\"type\": \"su\", \"short_factor\": [1]} | rope scaling su is not supported",
        "partial_rotary_factor | 0.75 | partial_rotary_factor 0.75 is not supported",
      })
  void refusesAPhi3ByName(String key, String value, String why) {
    ObjectNode json = (ObjectNode) json(PHI3);
    json.set(key, json(value));
    assertRefused(json, why);
  }

  @Test
  void knowsTheDefaultsOfGemma2() {
    ModelConfig config = parse(GEMMA2, "{}");
    assertThat(config.architecture()).isEqualTo(Architecture.GEMMA2);
    assertThat(config.keyValueHeads()).isEqualTo(4);
    assertThat(config.headDim()).isEqualTo(256);
    assertThat(config.maxPositions()).isEqualTo(8192);
    assertThat(config.norm()).isEqualTo(NormKind.RMS_NORM_AROUND_ONE);
    assertThat(config.activation()).isEqualTo(Activation.GELU_TANH);
    assertThat(config.norms())
        .containsOnlyKeys(
            NormRole.ATTENTION_INPUT,
            NormRole.ATTENTION_OUTPUT,
            NormRole.MLP_INPUT,
            NormRole.MLP_OUTPUT);
    assertThat(config.embeddingScale()).isEqualTo(64);
    assertThat(config.attentionScale()).isEqualTo(1 / 16f);
    assertThat(config.attentionCap()).isEqualTo(50);
    assertThat(config.logitCap()).isEqualTo(30);
    assertThat(config.slidingWindow(0)).isEqualTo(4096);
    assertThat(config.slidingWindow(1)).isZero();
    assertThat(config.slidingWindow(30)).isEqualTo(4096);
    assertThat(config.tiedEmbeddings()).isTrue();
    ModelConfig llama = parse(LLAMA, "{}");
    assertThat(llama.embeddingScale()).isEqualTo(1);
    assertThat(llama.attentionScale()).isEqualTo((float) (1 / Math.sqrt(128)));
    assertThat(llama.attentionCap()).isZero();
    assertThat(llama.logitCap()).isZero();
  }

  @Test
  void readsTheKeysOfGemma2() {
    ModelConfig config =
        parse(
            GEMMA2,
            """
            {"query_pre_attn_scalar": 144, "attn_logit_softcapping": null,
             "final_logit_softcapping": 20.0, "hidden_activation": "relu", "hidden_act": "silu",
             "num_hidden_layers": 3, "sliding_window": 7, "attention_bias": true,
             "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}
            """);
    assertThat(config.attentionScale()).isEqualTo(1 / 12f);
    assertThat(config.attentionCap()).isZero();
    assertThat(config.logitCap()).isEqualTo(20);
    assertThat(config.activation()).isEqualTo(Activation.RELU);
    assertThat(config.slidingWindows()).containsExactly(0, 7, 7);
    assertThat(config.biases()).hasSize(4);
    // What only Gemma 2 reads changes no other model.
    assertThat(
            parse(
                LLAMA,
                "{\"query_pre_attn_scalar\": 1, \"attn_logit_softcapping\": 1,"
                    + " \"final_logit_softcapping\": 1, \"use_bidirectional_attention\": true}"))
        .isEqualTo(parse(LLAMA, "{}"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "query_pre_attn_scalar | 0 | query_pre_attn_scalar is 0.0",
        "attn_logit_softcapping | -1 | attn_logit_softcapping is -1.0",
        "final_logit_softcapping | \"30\" | final_logit_softcapping is \"30\", not a number",
        "use_bidirectional_attention | true | use_bidirectional_attention is not supported",
        "sliding_window | null | sliding_window is null, and every other block needs one",
        "sliding_window | 0 | sliding_window is 0, not a positive whole number",
        "layer_types | [\"full_attention\"] | layer_types has 1 entries, num_hidden_layers is 32",
      })
  void refusesAGemma2ByName(String key, String value, String why) {
    ObjectNode json = (ObjectNode) json(GEMMA2);
    json.set(key, json(value));
    assertRefused(json, why);
  }

  @Test
  void knowsTheDefaultsOfVit() {
    ModelConfig config = parse(VIT, "{}");
    assertThat(config.architecture()).isEqualTo(Architecture.VIT);
    assertThat(config.readsImages()).isTrue();
    assertThat(config.isCausal()).isFalse();
    assertThat(config.patches()).containsExactly(new PatchGrid(224, 224, 16, 16, 3));
    assertThat(config.maxPositions()).isEqualTo(197);
    assertThat(config.positions()).isEqualTo(new PositionEncoding.Learned(0));
    assertThat(config.norm()).isEqualTo(NormKind.LAYER_NORM);
    assertThat(config.normEpsilon()).isEqualTo(1e-12f);
    assertThat(config.activation()).isEqualTo(Activation.GELU);
    assertThat(config.isGated()).isFalse();
    assertThat(config.finalNorm()).isTrue();
    assertThat(config.biases())
        .containsExactlyInAnyOrderElementsOf(Architecture.VIT.linears().keySet());
    assertThat(config.tiedEmbeddings()).isFalse();
    assertThat(config.labels()).containsExactly("LABEL_0", "LABEL_1");
    assertThat(parse(LLAMA, "{}").readsImages()).isFalse();
    assertThat(parse(LLAMA, "{}").isCausal()).isTrue();
  }

  @Test
  void readsTheKeysOfVit() {
    assertThat(parse(VIT, "{\"qkv_bias\": false}").biases())
        .containsExactlyInAnyOrder(LinearRole.O_PROJ, LinearRole.UP_PROJ, LinearRole.DOWN_PROJ);
    ModelConfig oblong =
        parse(VIT, "{\"image_size\": [48, 100], \"patch_size\": [16, 32], \"num_channels\": 1}");
    PatchGrid grid = oblong.patches().get(0);
    assertThat(grid).isEqualTo(new PatchGrid(48, 100, 16, 32, 1));
    assertThat(grid.patches()).isEqualTo(3 * 3);
    assertThat(grid.patchValues()).isEqualTo(16 * 32);
    assertThat(oblong.maxPositions()).isEqualTo(10);
    assertThat(parse(VIT, "{\"id2label\": {\"1\": \"dog\", \"0\": \"cat\"}}").labels())
        .containsExactly("cat", "dog");
    assertThat(parse(VIT, "{\"num_labels\": 3}").labels()).hasSize(3);
    assertThat(parse(VIT, "{\"tie_word_embeddings\": true}").tiedEmbeddings()).isFalse();
    assertThat(parse(VIT, "{\"problem_type\": \"single_label_classification\"}").labels())
        .hasSize(2);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "image_size | 0 | image_size is 0, not a positive whole number",
        "image_size | [224] | image_size is [224], not a height and a width",
        "image_size | [224, 0] | image_size is [224,0], not a height and a width",
        "image_size | 100000 | image_size 100000 is beyond any model",
        "image_size | 2147483647 | image_size 2147483647 is beyond any model",
        "patch_size | 225 | patch_size 225 is larger than image_size 224",
        "num_channels | \"3\" | num_channels is \"3\", not a positive whole number",
        "qkv_bias | 1 | qkv_bias is 1, not true or false",
        "layer_norm_eps | 2 | layer_norm_eps is 2.0",
        "hidden_act | \"quick_gelu\" | hidden_act quick_gelu is not supported; supported are",
        "id2label | {} | id2label has no entry",
        "id2label | {\"0\": \"a\", \"2\": \"b\"} | id2label has 2 entries, but none for \"1\"",
        "num_labels | 0 | num_labels is 0, not a positive whole number",
        "problem_type | \"regression\" | problem_type regression is not supported; supported is",
      })
  void refusesAVitByName(String key, String value, String why) {
    ObjectNode json = (ObjectNode) json(VIT);
    json.set(key, json(value));
    assertRefused(json, why);
  }

  @Test
  void readsActivations() {
    assertThat(parse(LLAMA, "{\"hidden_act\": \"swish\"}").activation()).isEqualTo(Activation.SILU);
    assertThat(parse(LLAMA, "{\"hidden_act\": \"gelu_new\"}").activation())
        .isEqualTo(Activation.GELU_TANH);
    assertThat(parse(LLAMA, "{\"hidden_act\": null}").activation()).isEqualTo(Activation.SILU);
  }

  @Test
  void hasPositionsWithoutEndWhereTheyAreRotated() {
    parse(LLAMA, "{}").requirePositions(1_000_000, "");
    ModelConfig opt = parse(OPT, "{}");
    opt.requirePositions(2048, "");
    assertThatExceptionOfType(IllegalArgumentException.class)
        .isThrownBy(() -> opt.requirePositions(2049, "use a shorter --length"))
        .withMessage(
            "Cannot run a sequence of 2049 tokens: the model has learned 2048 positions"
                + " (max_position_embeddings), and knows none beyond; use a shorter --length");
  }

  @Test
  void takesTheModelTypeWhereNoClassIsNamed() {
    assertThat(
            parse(LLAMA, "{\"architectures\": null, \"model_type\": \"mistral\"}").architecture())
        .isEqualTo(Architecture.MISTRAL);
    assertThat(parse(LLAMA, "{\"architectures\": [], \"model_type\": \"llama\"}").architecture())
        .isEqualTo(Architecture.LLAMA);
  }

  @Test
  void readsHeads() {
    ModelConfig grouped = parse(LLAMA, "{\"num_key_value_heads\": 8, \"head_dim\": 96}");
    assertThat(grouped.keyValueHeads()).isEqualTo(8);
    assertThat(grouped.headDim()).isEqualTo(96);
    assertThat(grouped.rotary().orElseThrow().headDim()).isEqualTo(96);
    assertThat(grouped.outFeatures(LinearRole.Q_PROJ)).isEqualTo(32 * 96);
    assertThat(grouped.outFeatures(LinearRole.V_PROJ)).isEqualTo(8 * 96);
    assertThat(grouped.inFeatures(LinearRole.O_PROJ)).isEqualTo(32 * 96);
    assertThat(grouped.outFeatures(LinearRole.O_PROJ)).isEqualTo(4096);
    assertThat(grouped.inFeatures(LinearRole.DOWN_PROJ)).isEqualTo(11008);
    assertThat(parse(LLAMA, "{\"head_dim\": null}").headDim()).isEqualTo(128);
    // transformers: None means as many as query heads; only a missing key means Mistral's 8.
    assertThat(parse(LLAMA, "{\"num_key_value_heads\": null}").keyValueHeads()).isEqualTo(32);
    assertThat(parse(MISTRAL, "{\"num_key_value_heads\": null}").keyValueHeads()).isEqualTo(32);
  }

  @Test
  void needsNoDivisibleWidthIfTheHeadsAreGiven() {
    ModelConfig config = parse(LLAMA, "{\"hidden_size\": 4097, \"head_dim\": 128}");
    assertThat(config.outFeatures(LinearRole.Q_PROJ)).isEqualTo(4096);
  }

  @Test
  void readsTheWindowOfMistral() {
    assertThat(parse(MISTRAL, "{\"sliding_window\": 7}").slidingWindow(31)).isEqualTo(7);
    assertThat(parse(MISTRAL, "{\"sliding_window\": null}").slidingWindow(31)).isZero();
    assertThat(parse(LLAMA, "{\"sliding_window\": null}").slidingWindow(31)).isZero();
    // As transformers has it: Mistral's class knows no such switch.
    assertThat(
            parse(MISTRAL, "{\"sliding_window\": 7, \"use_sliding_window\": false}")
                .slidingWindow(31))
        .isEqualTo(7);
  }

  @Test
  void readsBiasesAndTying() {
    ModelConfig attention = parse(LLAMA, "{\"attention_bias\": true, \"mlp_bias\": null}");
    assertThat(attention.hasBias(LinearRole.O_PROJ)).isTrue();
    assertThat(attention.hasBias(LinearRole.UP_PROJ)).isFalse();
    ModelConfig mlp = parse(LLAMA, "{\"mlp_bias\": true, \"tie_word_embeddings\": true}");
    assertThat(mlp.hasBias(LinearRole.Q_PROJ)).isFalse();
    assertThat(mlp.hasBias(LinearRole.DOWN_PROJ)).isTrue();
    assertThat(mlp.tiedEmbeddings()).isTrue();
  }

  @Test
  void readsRotaryEmbeddingsInTheOldSpelling() {
    assertThat(parse(LLAMA, "{\"rope_theta\": 500000.0}").rotary().orElseThrow().theta())
        .isEqualTo(500_000);
    assertThat(
            parse(LLAMA, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}")
                .rotary()
                .orElseThrow()
                .scaling())
        .isEqualTo(new Linear(4));
    assertThat(
            parse(
                    LLAMA,
                    """
                    {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}
                    """)
                .rotary()
                .orElseThrow()
                .scaling())
        .isEqualTo(new Llama3(8, 1, 4, 8192));
    assertThat(parse(LLAMA, "{\"rope_scaling\": {}}").rotary().orElseThrow().scaling())
        .isEqualTo(new Unscaled());
    assertThat(
            parse(LLAMA, "{\"rope_scaling\": {\"type\": \"default\"}}")
                .rotary()
                .orElseThrow()
                .scaling())
        .isEqualTo(new Unscaled());
  }

  @Test
  void readsRotaryEmbeddingsInTheNewSpelling() {
    ModelConfig config =
        parse(
            LLAMA,
            """
            {"rope_theta": 1.0,
             "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 50000}}
            """);
    assertThat(config.rotary().orElseThrow().theta()).isEqualTo(50_000);
    assertThat(config.rotary().orElseThrow().scaling()).isEqualTo(new Linear(2.5));
    ModelConfig plain =
        parse(LLAMA, "{\"rope_parameters\": {\"rope_type\": \"default\"}, \"rope_theta\": 7.0}");
    assertThat(plain.rotary().orElseThrow().theta()).isEqualTo(7);
    assertThat(plain.rotary().orElseThrow().scaling()).isEqualTo(new Unscaled());
    assertThat(parse(LLAMA, "{\"rope_parameters\": null}").rotary().orElseThrow().theta())
        .isEqualTo(10_000);
  }

  /** As transformers 5.23 resolves it. */
  @Test
  void takesTheOldSpellingWhereBothAreThere() {
    ModelConfig config =
        parse(
            LLAMA,
            """
            {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 20000.0,
             "rope_parameters": {"rope_type": "default", "rope_theta": 30000.0}}
            """);
    assertThat(config.rotary().orElseThrow().theta()).isEqualTo(20_000);
    assertThat(config.rotary().orElseThrow().scaling()).isEqualTo(new Linear(4));
    ModelConfig empty =
        parse(
            LLAMA,
            """
            {"rope_scaling": {},
             "rope_parameters": {"rope_type": "default", "rope_theta": 30000.0}}
            """);
    assertThat(empty.rotary().orElseThrow().theta()).isEqualTo(30_000);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size"
      })
  void refusesToDoWithoutASize(String key) {
    ObjectNode json = (ObjectNode) json(LLAMA);
    json.remove(key);
    assertRefused(json, key + " is missing");
    json.putNull(key);
    assertRefused(json, key + " is missing");
    for (String bad : new String[] {"0", "-1", "1.5", "\"64\"", "3000000000", "[]", "true"}) {
      json.set(key, json(bad));
      assertRefused(json, key + " is " + bad + ", not a positive whole number");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "num_key_value_heads | 0 | num_key_value_heads is 0, not a positive whole number",
        "num_key_value_heads | 5 | num_attention_heads 32 is no multiple of num_key_value_heads 5",
        "num_key_value_heads | 64 | 32 is no multiple of num_key_value_heads 64",
        "hidden_size | 4100 | hidden_size 4100 is no multiple of num_attention_heads 32",
        "head_dim | 127 | head_dim 127 is odd",
        "num_hidden_layers | 65537 | num_hidden_layers 65537 is beyond any model",
        "head_dim | 2000000 | num_attention_heads 32 times head_dim 2000000 is beyond any model",
        "max_position_embeddings | 0 | max_position_embeddings is 0",
        "rms_norm_eps | -1e-6 | rms_norm_eps is -1.0E-6",
        "rms_norm_eps | 1 | rms_norm_eps is 1.0",
        "rms_norm_eps | \"1e-6\" | rms_norm_eps is \"1e-6\", not a number",
        "rope_theta | 0 | rope_theta is 0.0",
        "rope_theta | \"1e4\" | rope_theta is \"1e4\", not a number",
        "partial_rotary_factor | 0.5 | partial_rotary_factor 0.5 is not supported",
        "attention_bias | 1 | attention_bias is 1, not true or false",
        "mlp_bias | \"no\" | mlp_bias is \"no\", not true or false",
        "tie_word_embeddings | 0 | tie_word_embeddings is 0, not true or false",
        "hidden_act | \"quick_gelu\" | hidden_act quick_gelu is not supported; supported are silu, ",
        "is_encoder_decoder | true | encoder-decoder models are not supported",
        "quantization_config | {} | quantized checkpoints cannot be pruned",
        "sliding_window | 4096 | sliding_window is not supported for LlamaForCausalLM",
        "layer_types | [\"sliding_attention\"] | sliding_window is not supported for Llama",
        "layer_types | [\"full_attention\", \"sliding_attention\"] | layer_types mixes full_att",
        "architectures | [\"GPT2LMHeadModel\"] | the architecture GPT2LMHeadModel is not supported",
        "architectures | [] | it names no architecture; supported are LlamaForCausalLM, Mistral",
        "rope_scaling | \"linear\" | rope_scaling is not an object",
        "rope_scaling | [2] | rope_scaling is not an object",
        "rope_parameters | 3 | rope_parameters is not an object",
      })
  void refusesByName(String key, String value, String why) {
    ObjectNode json = (ObjectNode) json(LLAMA);
    json.set(key, json(value));
    assertRefused(json, why);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"rope_type\": \"yarn\"} | rope scaling yarn is not supported; supported are default,",
        "{\"type\": \"dynamic\", \"factor\": 2} | rope scaling dynamic is not supported",
        "{\"type\": \"linear\"} | rope scaling needs a positive factor",
        "{\"type\": \"linear\", \"factor\": 0} | needs a positive factor, not 0",
        "{\"type\": \"linear\", \"factor\": \"2\"} | factor is \"2\", not a number",
        "{\"type\": \"llama3\", \"low_freq_factor\": 4, \"high_freq_factor\": 4} "
            + "| high_freq_factor 4.0 is not above low_freq_factor 4.0",
        "{\"type\": \"llama3\", \"low_freq_factor\": 1, \"high_freq_factor\": 4, \"factor\": 8} "
            + "| rope scaling needs a positive original_max_position_embeddings",
      })
  void refusesRopeScaling(String scaling, String why) {
    for (String key : new String[] {"rope_scaling", "rope_parameters"}) {
      ObjectNode json = (ObjectNode) json(LLAMA);
      json.set(key, json(scaling));
      assertRefused(json, why);
    }
  }

  @Test
  void refusesRotaryEmbeddingsThatDifferFromBlockToBlock() {
    assertRefused(
        merged(LLAMA, "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}}}"),
        "rope_parameters per layer type are not supported");
  }

  @Test
  void refusesAWindowOfMistralThatIsNone() {
    assertRefused(
        merged(MISTRAL, "{\"sliding_window\": 0}"),
        "sliding_window is 0, not a positive whole number");
  }

  @Test
  void refusesWhatIsNoObject() {
    assertRefused(json("[]"), "it is not a JSON object");
  }

  private static void assertRefused(JsonNode json, String why) {
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> ModelConfig.parse(json, "s3://models/llama"))
        .withMessageStartingWith("Cannot use model s3://models/llama: ")
        .withMessageContaining(why)
        .withMessageEndingWith(" (config.json)");
  }

  private static ModelConfig parse(String base, String changes) {
    return ModelConfig.parse(merged(base, changes), "model");
  }

  private static ObjectNode merged(String base, String changes) {
    return ((ObjectNode) json(base)).setAll((ObjectNode) json(changes));
  }

  private static JsonNode json(String text) {
    try {
      return new ObjectMapper().readTree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(text, e);
    }
  }
}
