package ai.owl.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorRef;
import ai.owl.tensor.DType;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ModelLayoutTest {
  private static final String Q_PROJ = "model.layers.1.self_attn.q_proj";

  private final MemoryStorage storage = new MemoryStorage();
  private final SampleModel sample = new SampleModel();

  @Test
  void findsEveryPartOfAModel() throws IOException {
    ModelLayout model = sample.layout(storage);
    assertThat(model.embedding().name()).isEqualTo("model.embed_tokens.weight");
    assertThat(model.finalNorm()).extracting(NormLayer::name).containsExactly("model.norm");
    assertThat(names(model.finalNorm().get(0).gain())).containsExactly("model.norm.weight");
    assertThat(model.head().name()).isEqualTo("lm_head.weight");
    assertThat(names(model.outside()))
        .containsExactly("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight");
    assertThat(model.blocks()).hasSize(2);
    BlockLayout block = model.blocks().get(1);
    assertThat(block.index()).isEqualTo(1);
    assertThat(block.linears())
        .extracting(LinearLayer::role)
        .containsExactlyElementsOf(Architecture.LLAMA.linears().keySet());
    assertThat(block.linears().get(0).name()).isEqualTo(Q_PROJ);
    assertThat(block.linears().get(0).weight().name()).isEqualTo(Q_PROJ + ".weight");
    assertThat(block.linears().get(6).inFeatures()).isEqualTo(24);
    assertThat(block.linears().get(6).outFeatures()).isEqualTo(16);
    assertThat(block.linears()).allMatch(linear -> linear.bias().isEmpty());
    assertThat(block.norms()).containsOnlyKeys(NormRole.ATTENTION_INPUT, NormRole.MLP_INPUT);
    assertThat(block.norms().get(NormRole.ATTENTION_INPUT).name())
        .isEqualTo("model.layers.1.input_layernorm");
    assertThat(names(block.norms().get(NormRole.MLP_INPUT).gain()))
        .containsExactly("model.layers.1.post_attention_layernorm.weight");
  }

  @Test
  void countsWeightsAndBytes() throws IOException {
    ModelLayout model = sample.layout(storage);
    long weights = 2 * 16 * 16 + 2 * 8 * 16 + 3 * 16 * 24;
    assertThat(model.blocks().get(0).prunableWeights()).isEqualTo(weights);
    assertThat(model.prunableWeights()).isEqualTo(2 * weights);
    assertThat(model.blocks().get(0).bytes()).isEqualTo(4 * (weights + 2 * 16));
  }

  @Test
  void hasEveryTensorOnceAndInOrder() throws IOException {
    sample.add("model.layers.0.self_attn.rotary_emb.inv_freq", 2);
    sample.add("model.layers.99.mlp.up_proj.weight", 3, 3);
    sample.add("model.layers.1e2.odd", 3);
    sample.add("model.layers.01.odd", 3);
    sample.add("model.layers.-1.odd", 3);
    sample.add("model.layers.9999999999.odd", 3);
    sample.add("model.layers.0", 3);
    sample.add("model.layers.", 3);
    sample.add("vision.model.layers.0.odd", DType.I64, 3);
    ModelLayout model = sample.layout(storage);
    assertThat(names(model.outside()))
        .containsExactly(
            "model.embed_tokens.weight",
            "model.norm.weight",
            "lm_head.weight",
            "model.layers.99.mlp.up_proj.weight",
            "model.layers.1e2.odd",
            "model.layers.01.odd",
            "model.layers.-1.odd",
            "model.layers.9999999999.odd",
            "model.layers.0",
            "model.layers.",
            "vision.model.layers.0.odd");
    List<String> all = new ArrayList<>(names(model.outside()));
    for (BlockLayout block : model.blocks()) {
      List<String> ofBlock = new ArrayList<>(sample.tensors.keySet());
      ofBlock.removeIf(name -> !name.startsWith("model.layers." + block.index() + "."));
      assertThat(names(block.tensors())).isEqualTo(ofBlock);
      all.addAll(ofBlock);
    }
    assertThat(all).containsExactlyInAnyOrderElementsOf(sample.tensors.keySet());
    assertThat(names(model.blocks().get(0).tensors()))
        .contains("model.layers.0.self_attn.rotary_emb.inv_freq");
  }

  @Test
  void takesTheEmbeddingForTheHeadWhereTheyAreTied() throws IOException {
    sample.config.put("tie_word_embeddings", true);
    sample.tensors.remove("lm_head.weight");
    ModelLayout model = sample.layout(storage);
    assertThat(model.head()).isEqualTo(model.embedding());
    assertThat(names(model.outside()))
        .containsExactly("model.embed_tokens.weight", "model.norm.weight");
  }

  @Test
  void usesAHeadThatIsThereThoughTheConfigurationTiesIt() throws IOException {
    sample.config.put("tie_word_embeddings", true);
    ModelLayout model = sample.layout(storage);
    assertThat(model.head().name()).isEqualTo("lm_head.weight");
    assertThat(names(model.outside())).contains("lm_head.weight");
  }

  @Test
  void refusesABlockThatTheConfigurationDoesNotCount() {
    sample.config.put("num_hidden_layers", 1);
    assertThatThrownBy(() -> sample.layout(storage))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining("num_hidden_layers is 1")
        .hasMessageContaining("model.layers.1.self_attn.q_proj.weight");
  }

  @Test
  void findsBiases() throws IOException {
    sample.config.put("attention_bias", true).put("mlp_bias", true);
    for (int block = 0; block < 2; block++) {
      String prefix = "model.layers." + block + ".";
      sample.add(prefix + "self_attn.q_proj.bias", 16).add(prefix + "self_attn.k_proj.bias", 8);
      sample.add(prefix + "self_attn.v_proj.bias", 8).add(prefix + "self_attn.o_proj.bias", 16);
      sample.add(prefix + "mlp.gate_proj.bias", 24).add(prefix + "mlp.up_proj.bias", 24);
      sample.add(prefix + "mlp.down_proj.bias", 16);
    }
    for (LinearLayer linear : sample.layout(storage).blocks().get(1).linears()) {
      assertThat(names(linear.bias())).containsExactly(linear.name() + ".bias");
    }
  }

  @Test
  void findsThePartsOfOpt() throws IOException {
    ModelLayout model = SampleModel.opt(false).layout(storage);
    assertThat(model.embedding().name()).isEqualTo("model.decoder.embed_tokens.weight");
    assertThat(model.head()).isEqualTo(model.embedding());
    assertThat(model.part(ModelPart.POSITION_EMBEDDING).orElseThrow().name())
        .isEqualTo("model.decoder.embed_positions.weight");
    assertThat(model.part(ModelPart.PROJECT_IN)).isEmpty();
    assertThat(model.part(ModelPart.PROJECT_OUT)).isEmpty();
    assertThat(names(model.finalNorm().get(0).bias()))
        .containsExactly("model.decoder.final_layer_norm.bias");
    BlockLayout block = model.blocks().get(1);
    assertThat(block.linears())
        .extracting(LinearLayer::path)
        .containsExactly(
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.q_proj",
            "self_attn.out_proj",
            "fc1",
            "fc2");
    assertThat(block.linears())
        .extracting(linear -> linear.role().input())
        .containsExactly(
            LinearInput.ATTENTION,
            LinearInput.ATTENTION,
            LinearInput.ATTENTION,
            LinearInput.ATTENTION_OUTPUT,
            LinearInput.MLP,
            LinearInput.MLP_OUTPUT);
    assertThat(block.linears())
        .allSatisfy(
            linear -> assertThat(names(linear.bias())).containsExactly(linear.name() + ".bias"));
    assertThat(block.norms().get(NormRole.ATTENTION_INPUT).name())
        .isEqualTo("model.decoder.layers.1.self_attn_layer_norm");
    assertThat(names(block.norms().get(NormRole.MLP_INPUT).bias()))
        .containsExactly("model.decoder.layers.1.final_layer_norm.bias");
    assertThat(model.prunableWeights()).isEqualTo(2 * (4 * 16 * 16 + 2 * 16 * 24));
  }

  @Test
  void findsThePartsOfOpt350m() throws IOException {
    ModelLayout model = SampleModel.opt(true).layout(storage);
    assertThat(model.finalNorm()).isEmpty();
    assertThat(model.part(ModelPart.PROJECT_IN).orElseThrow().shape()).containsExactly(16L, 12L);
    assertThat(model.part(ModelPart.PROJECT_OUT).orElseThrow().shape()).containsExactly(12L, 16L);
    assertThat(model.blocks().get(0).norms())
        .containsOnlyKeys(NormRole.ATTENTION_SUM, NormRole.MLP_SUM);
    assertThat(names(model.outside()))
        .contains("model.decoder.project_in.weight", "model.decoder.project_out.weight");
  }

  @Test
  void findsThePartsOfAVisionTransformer() throws IOException {
    SampleModel vit = SampleModel.vit().addWithBias("vit.pooler.dense", 16, 16);
    ModelLayout model = vit.layout(storage);
    assertThat(model.head().name()).isEqualTo("classifier.weight");
    assertThat(model.parts())
        .containsOnlyKeys(
            ModelPart.PATCH_PROJECTION,
            ModelPart.PATCH_BIAS,
            ModelPart.CLASS_TOKEN,
            ModelPart.POSITION_EMBEDDING,
            ModelPart.HEAD,
            ModelPart.HEAD_BIAS);
    // Seen as matrices, while what is copied is what is there.
    assertThat(model.parts().get(ModelPart.PATCH_PROJECTION).shape()).containsExactly(16L, 18L);
    assertThat(model.parts().get(ModelPart.CLASS_TOKEN).shape()).containsExactly(1L, 16L);
    assertThat(model.parts().get(ModelPart.POSITION_EMBEDDING).shape()).containsExactly(9L, 16L);
    assertThat(model.outside())
        .filteredOn(tensor -> tensor.name().endsWith("projection.weight"))
        .extracting(TensorRef::shape)
        .containsExactly(List.of(16L, 3L, 3L, 2L));
    assertThat(names(model.outside())).contains("vit.pooler.dense.weight");
    assertThat(model.blocks().get(1).linears())
        .extracting(LinearLayer::path)
        .containsExactly(
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense");
    for (String name : new ArrayList<>(vit.tensors.keySet())) {
      SampleModel without = SampleModel.vit();
      if (without.tensors.remove(name) != null) {
        assertRefused(without, "Cannot find tensor " + name + " in model");
      }
    }
  }

  @Test
  void readsNamesWithoutTheirFirstPart() throws IOException {
    for (SampleModel bare : List.of(SampleModel.opt(false), new SampleModel())) {
      Map<String, SampleModel.Tensor> renamed = new LinkedHashMap<>();
      bare.tensors.forEach(
          (name, tensor) -> renamed.put(name.replaceFirst("^model\\.", ""), tensor));
      bare.tensors.clear();
      bare.tensors.putAll(renamed);
      ModelLayout model = bare.layout(storage);
      assertThat(model.blocks().get(1).linears())
          .allMatch(linear -> linear.name().matches("(decoder\\.)?layers\\.1\\..*"));
      assertThat(model.blocks().stream().mapToInt(block -> block.tensors().size()).sum())
          .isEqualTo(bare.tensors.size() - model.outside().size());
      assertThat(model.outside()).hasSizeLessThan(6);
    }
  }

  @Test
  void keepsWhatItTakesToEmbedAndToScore() throws IOException {
    ModelLayout model = SampleModel.opt(true).layout(storage);
    ModelLayout ends = model.withoutBlocks();
    assertThat(ends.blocks()).isEmpty();
    assertThat(ends.outside()).isEmpty();
    assertThat(ends.parts()).isEqualTo(model.parts());
    assertThat(ends.config()).isEqualTo(model.config());
  }

  @Test
  void refusesAnOptThatLacksAnything() {
    for (boolean isPostNorm : new boolean[] {false, true}) {
      for (String name : new ArrayList<>(SampleModel.opt(isPostNorm).tensors.keySet())) {
        SampleModel without = SampleModel.opt(isPostNorm);
        without.tensors.remove(name);
        assertRefused(without, "Cannot find tensor " + name + " in model");
        SampleModel other = SampleModel.opt(isPostNorm).add(name, 16, 17);
        assertRefused(other, "Cannot use " + name + " of model/model.safetensors: its shape is");
      }
    }
  }

  @Test
  void refusesAMissingTensor() {
    for (String name : new ArrayList<>(sample.tensors.keySet())) {
      SampleModel without = new SampleModel();
      without.tensors.remove(name);
      assertRefused(without, "Cannot find tensor " + name + " in model");
    }
  }

  @Test
  void refusesFewerBlocksThanTheConfigurationHas() {
    sample.config.put("num_hidden_layers", 3);
    assertRefused(sample, "Cannot find tensor model.layers.2.self_attn.q_proj.weight");
  }

  @Test
  void refusesAnotherShape() {
    for (String name : new ArrayList<>(sample.tensors.keySet())) {
      SampleModel other = new SampleModel().add(name, 16, 17);
      assertRefused(
          other,
          "Cannot use "
              + name
              + " of model/model.safetensors: its shape is [16, 17], but"
              + " config.json implies "
              + sample.tensors.get(name).shape());
    }
  }

  @Test
  void refusesATypeThatCannotBeComputedWith() {
    for (DType type : new DType[] {DType.I8, DType.F8_E4M3, DType.F64}) {
      assertRefused(
          new SampleModel().add(Q_PROJ + ".weight", type, 16, 16),
          Q_PROJ
              + ".weight of model/model.safetensors: its type is "
              + type
              + "; supported are F32, F16 and BF16");
    }
  }

  @Test
  void refusesBiasesThatTheConfigurationDoesNotKnow() {
    assertRefused(
        new SampleModel().add(Q_PROJ + ".bias", 16),
        "it has " + Q_PROJ + ".bias, but config.json does not say that there are biases");
  }

  @Test
  void refusesToDoWithoutBiasesThatTheConfigurationHas() {
    sample.config.put("attention_bias", true);
    assertRefused(sample, "Cannot find tensor model.layers.0.self_attn.q_proj.bias");
    sample.add("model.layers.0.self_attn.q_proj.bias", 15);
    assertRefused(sample, "q_proj.bias of model/model.safetensors: its shape is [15]");
  }

  @Test
  void survivesSerialization() throws Exception {
    for (SampleModel any :
        List.of(sample, SampleModel.opt(false), SampleModel.opt(true), SampleModel.vit())) {
      ModelLayout model = any.layout(storage);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
        out.writeObject(model);
      }
      try (ObjectInputStream in =
          new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
        assertThat(in.readObject()).isEqualTo(model);
      }
    }
  }

  private void assertRefused(SampleModel model, String why) {
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> model.layout(storage))
        .withMessageContaining(why);
  }

  private static List<String> names(List<TensorRef> tensors) {
    return tensors.stream().map(TensorRef::name).toList();
  }
}
