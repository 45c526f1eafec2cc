package ai.owl.model;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.SafetensorsWriter.Entry;
import ai.owl.checkpoint.Storage;
import ai.owl.tensor.DType;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * A small checkpoint with random weights, for tests to bend before they write it: two LLaMA blocks
 * of width 16 with 4 heads in 2 groups, and a vocabulary of 40.
 */
public final class SampleModel {
  /** The content of config.json. */
  public final ObjectNode config = JsonNodeFactory.instance.objectNode();

  /** By name, in the order of the file. */
  public final Map<String, Tensor> tensors = new LinkedHashMap<>();

  private final Random random;

  /** A tensor and its elements before they are rounded to its type. */
  public record Tensor(DType type, List<Long> shape, float[] values) {}

  public SampleModel() {
    this(2, 1);
  }

  public SampleModel(int blocks, long seed) {
    random = new Random(seed);
    config.putArray("architectures").add("LlamaForCausalLM");
    config.put("model_type", "llama").put("hidden_size", 16).put("intermediate_size", 24);
    config.put("num_hidden_layers", blocks).put("num_attention_heads", 4);
    config.put("num_key_value_heads", 2).put("vocab_size", 40);
    config.put("max_position_embeddings", 64).put("rms_norm_eps", 1e-6);
    add("model.embed_tokens.weight", 40, 16);
    for (int block = 0; block < blocks; block++) {
      String prefix = "model.layers." + block + ".";
      add(prefix + "input_layernorm.weight", 16);
      add(prefix + "mlp.down_proj.weight", 16, 24);
      add(prefix + "mlp.gate_proj.weight", 24, 16);
      add(prefix + "mlp.up_proj.weight", 24, 16);
      add(prefix + "post_attention_layernorm.weight", 16);
      add(prefix + "self_attn.k_proj.weight", 8, 16);
      add(prefix + "self_attn.o_proj.weight", 16, 16);
      add(prefix + "self_attn.q_proj.weight", 16, 16);
      add(prefix + "self_attn.v_proj.weight", 8, 16);
    }
    add("model.norm.weight", 16);
    add("lm_head.weight", 40, 16);
  }

  private SampleModel(long seed) {
    random = new Random(seed);
  }

  /**
   * Two OPT blocks of the same sizes.
   *
   * @param isPostNorm norms on the sums, and an embedding that is narrower than the hidden states,
   *     as OPT-350m; else as all others
   */
  public static SampleModel opt(boolean isPostNorm) {
    SampleModel model = new SampleModel(1);
    int embedding = isPostNorm ? 12 : 16;
    model.config.putArray("architectures").add("OPTForCausalLM");
    model.config.put("model_type", "opt").put("hidden_size", 16).put("ffn_dim", 24);
    model.config.put("num_hidden_layers", 2).put("num_attention_heads", 4).put("vocab_size", 40);
    model.config.put("max_position_embeddings", 64).put("word_embed_proj_dim", embedding);
    model.config.put("do_layer_norm_before", !isPostNorm);
    model.add("model.decoder.embed_tokens.weight", 40, embedding);
    model.add("model.decoder.embed_positions.weight", 66, 16);
    if (isPostNorm) {
      model.add("model.decoder.project_in.weight", 16, 12);
      model.add("model.decoder.project_out.weight", 12, 16);
    } else {
      model.addWithBias("model.decoder.final_layer_norm", 16);
    }
    for (int block = 0; block < 2; block++) {
      String prefix = "model.decoder.layers." + block + ".";
      model.addWithBias(prefix + "fc1", 24, 16).addWithBias(prefix + "fc2", 16, 24);
      model.addWithBias(prefix + "final_layer_norm", 16);
      for (String projection : List.of("k_proj", "out_proj", "q_proj", "v_proj")) {
        model.addWithBias(prefix + "self_attn." + projection, 16, 16);
      }
      model.addWithBias(prefix + "self_attn_layer_norm", 16);
    }
    return model;
  }

  /** A classifier of images of 3 x 7 x 9 into 5, with two blocks of the same sizes. */
  public static SampleModel vit() {
    SampleModel model = new SampleModel(1);
    model.config.putArray("architectures").add("ViTForImageClassification");
    model.config.put("model_type", "vit").put("hidden_size", 16).put("intermediate_size", 24);
    model.config.put("num_hidden_layers", 2).put("num_attention_heads", 4);
    model.config.putArray("image_size").add(7).add(9);
    model.config.putArray("patch_size").add(3).add(2);
    model.config.put("num_labels", 5);
    model.add("vit.embeddings.cls_token", 1, 1, 16);
    model.add("vit.embeddings.position_embeddings", 1, 9, 16);
    model.addWithBias("vit.embeddings.patch_embeddings.projection", 16, 3, 3, 2);
    for (int block = 0; block < 2; block++) {
      String prefix = "vit.encoder.layer." + block + ".";
      for (String projection : List.of("query", "key", "value")) {
        model.addWithBias(prefix + "attention.attention." + projection, 16, 16);
      }
      model.addWithBias(prefix + "attention.output.dense", 16, 16);
      model.addWithBias(prefix + "intermediate.dense", 24, 16);
      model.addWithBias(prefix + "output.dense", 16, 24);
      model.addWithBias(prefix + "layernorm_before", 16);
      model.addWithBias(prefix + "layernorm_after", 16);
    }
    model.addWithBias("vit.layernorm", 16).addWithBias("classifier", 5, 16);
    return model;
  }

  /** Adds a layer's weight, and a bias with an element for each of its rows. */
  public SampleModel addWithBias(String layer, long... shape) {
    return add(layer + ".weight", shape).add(layer + ".bias", shape[0]);
  }

  /** Adds a tensor, or takes the place of the one that has its name. */
  public SampleModel add(String name, long... shape) {
    return add(name, DType.F32, shape);
  }

  public SampleModel add(String name, DType type, long... shape) {
    int size = 1;
    List<Long> lengths = new ArrayList<>();
    for (long length : shape) {
      size *= (int) length;
      lengths.add(length);
    }
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = (float) (random.nextGaussian() / (shape.length > 1 ? 4 : 10));
      values[i] += shape.length > 1 ? 0 : 1; // gains are near one
    }
    tensors.put(name, new Tensor(type, lengths, values));
    return this;
  }

  /** Makes a LLaMA a Gemma 2, with norms on both sides. */
  public SampleModel gemma2() {
    config.putArray("architectures").add("Gemma2ForCausalLM");
    config.put("model_type", "gemma2").put("head_dim", 4).put("sliding_window", 5);
    config.put("query_pre_attn_scalar", 7).put("attn_logit_softcapping", 0.5);
    config.put("final_logit_softcapping", 1.5);
    for (int block = 0; block < config.get("num_hidden_layers").intValue(); block++) {
      add("model.layers." + block + ".pre_feedforward_layernorm.weight", 16);
      add("model.layers." + block + ".post_feedforward_layernorm.weight", 16);
    }
    return this;
  }

  /** Makes a LLaMA the same network under Phi-3's names, which join layers that read the same. */
  public void fuse() {
    config.putArray("architectures").add("Phi3ForCausalLM");
    config.put("model_type", "phi3");
    for (int block = 0; block < config.get("num_hidden_layers").intValue(); block++) {
      String prefix = "model.layers." + block + ".";
      join(prefix + "self_attn.", "qkv_proj", "q_proj", "k_proj", "v_proj");
      join(prefix + "mlp.", "gate_up_proj", "gate_proj", "up_proj");
    }
  }

  private void join(String prefix, String joint, String... names) {
    long rows = 0;
    List<Float> values = new ArrayList<>();
    for (String name : names) {
      Tensor part = tensors.remove(prefix + name + ".weight");
      rows += part.shape.get(0);
      for (float value : part.values) {
        values.add(value);
      }
    }
    float[] all = new float[values.size()];
    for (int i = 0; i < all.length; i++) {
      all[i] = values.get(i);
    }
    List<Long> shape = List.of(rows, all.length / rows);
    tensors.put(prefix + joint + ".weight", new Tensor(DType.F32, shape, all));
  }

  /** Stores all tensors as another type. */
  public SampleModel as(DType type) {
    tensors.replaceAll((name, tensor) -> new Tensor(type, tensor.shape, tensor.values));
    return this;
  }

  public float[] values(String name) {
    return tensors.get(name).values;
  }

  /** Writes it as a single file with its configuration and another small file. */
  public SampleModel write(Storage storage, String folder) throws IOException {
    List<Entry> entries = new ArrayList<>();
    tensors.forEach((name, tensor) -> entries.add(entry(name, tensor)));
    SafetensorsWriter.write(storage, Storage.resolve(folder, "model.safetensors"), entries);
    storage.writeAll(
        Storage.resolve(folder, "config.json"),
        config.toPrettyString().getBytes(StandardCharsets.UTF_8));
    storage.writeAll(
        Storage.resolve(folder, "generation_config.json"),
        "{\"do_sample\": false}".getBytes(StandardCharsets.UTF_8));
    return this;
  }

  private static Entry entry(String name, Tensor tensor) {
    byte[] bytes = new byte[tensor.values.length * tensor.type.bytes()];
    if (tensor.type.isComputable()) {
      tensor.type.narrow(tensor.values, tensor.values.length, bytes, 0);
    }
    return new Entry(name, tensor.type, tensor.shape, out -> out.write(bytes));
  }

  /** Writes it, and finds its parts. */
  public ModelLayout layout(Storage storage) throws IOException {
    write(storage, "model");
    return ModelLayout.of(Checkpoint.open(storage, "model"));
  }
}
