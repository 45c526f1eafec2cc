package ai.owl.benchmark;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.SafetensorsWriter.Entry;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ActivationObserver;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LinearInput;
import ai.owl.model.LinearLayer;
import ai.owl.model.LinearRole;
import ai.owl.model.ModelLayout;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * A whole decoder block, as a calibration pass runs it. Its operations are those of its linear
 * layers: time that attention, norms and the gate take lowers the rate.
 */
@State(Scope.Benchmark)
public class BlockBenchmark {
  private static final double EPSILON = 1e-6;

  @Param public ModelShape shape;

  private DecoderBlock block;
  private ForwardBuffers buffers;
  private Matrix input;
  private Matrix hidden;

  /** Norms' gains, so that a wrong or forgotten one is found. */
  private float[] attentionGain;

  private float[] mlpGain;

  @Setup
  public void prepare() throws IOException {
    Path folder = Files.createTempDirectory("owl-benchmark");
    try {
      load(folder);
    } finally {
      new LocalStorage().delete(folder.toString());
    }
    input = RandomMatrix.normal(shape.tokens, shape.hidden, 1, 1);
    hidden = new Matrix(shape.tokens, shape.hidden);
    Machine.announce();
    check();
  }

  /** Writes a checkpoint of one block, and reads that. */
  private void load(Path folder) throws IOException {
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": %d,
         "intermediate_size": %d, "num_hidden_layers": 1, "num_attention_heads": %d,
         "num_key_value_heads": %d, "vocab_size": 8, "max_position_embeddings": 4096,
         "rms_norm_eps": 1e-6}
        """
            .formatted(shape.hidden, shape.intermediate, shape.heads, shape.heads),
        StandardCharsets.UTF_8);
    int h = shape.hidden;
    int i = shape.intermediate;
    Map<String, Matrix> weights = new LinkedHashMap<>();
    weights.put("model.embed_tokens", RandomMatrix.normal(8, h, 1, 10));
    weights.put("lm_head", RandomMatrix.normal(8, h, 1, 11));
    String at = "model.layers.0.";
    for (String name : List.of("q_proj", "k_proj", "v_proj", "o_proj")) {
      weights.put(at + "self_attn." + name, RandomMatrix.normal(h, h, 0.03, 12 + weights.size()));
    }
    weights.put(at + "mlp.gate_proj", RandomMatrix.normal(i, h, 0.03, 21));
    weights.put(at + "mlp.up_proj", RandomMatrix.normal(i, h, 0.03, 22));
    weights.put(at + "mlp.down_proj", RandomMatrix.normal(h, i, 0.03, 23));
    List<Entry> entries = new ArrayList<>();
    weights.forEach((name, w) -> entries.add(Entry.of(name + ".weight", DType.BF16, w)));
    attentionGain = RandomMatrix.norms(h, 31);
    mlpGain = RandomMatrix.norms(h, 32);
    entries.add(gain(at + "input_layernorm.weight", attentionGain));
    entries.add(gain(at + "post_attention_layernorm.weight", mlpGain));
    entries.add(gain("model.norm.weight", mlpGain));
    LocalStorage storage = new LocalStorage();
    SafetensorsWriter.write(storage, folder.resolve("model.safetensors").toString(), entries);
    weights.values().forEach(Matrix::close);
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, folder.toString()));
    try (TensorReader reader = new TensorReader(storage)) {
      block = DecoderBlock.load(model.config(), model.blocks().get(0), reader);
    }
    buffers = new ForwardBuffers(model.config());
  }

  private static Entry gain(String name, float[] values) {
    return new Entry(
        name,
        DType.F32,
        List.of((long) values.length),
        out -> {
          byte[] bytes = new byte[Float.BYTES * values.length];
          DType.F32.narrow(values, values.length, bytes, 0);
          out.write(bytes);
        });
  }

  /**
   * Follows sampled tokens through the block: each stage from what the stage before it gave, so
   * that no token needs all of the others.
   */
  private void check() {
    Map<LinearInput, Matrix> seen = new EnumMap<>(LinearInput.class);
    ActivationObserver keep =
        (place, x) -> {
          Matrix copy = new Matrix(x.rows(), x.cols());
          copy.set(x);
          Matrix before = seen.put(place, copy);
          if (before != null) {
            checkSame(place, before, copy);
            before.close();
          }
        };
    hidden.set(input);
    block.observe(hidden, buffers, keep);
    checkSame("what observe leaves", input, hidden);
    block.advance(hidden, buffers, keep);
    checkAttention(seen.get(LinearInput.ATTENTION), seen.get(LinearInput.ATTENTION_OUTPUT));
    IntStream.of(Expected.sample(shape.tokens)).parallel().forEach(t -> checkToken(t, seen));
    seen.values().forEach(Matrix::close);
  }

  private static void checkSame(Object what, Matrix expected, Matrix actual) {
    for (int t : Expected.sample(expected.rows())) {
      if (!Arrays.equals(Expected.row(expected, t), Expected.row(actual, t))) {
        throw new IllegalStateException(what + " differs in row " + t);
      }
    }
  }

  private float[] weight(LinearRole role, int row) {
    return Expected.row(weight(role), row);
  }

  private Matrix weight(LinearRole role) {
    LinearLayer linear =
        block.layout().linears().stream()
            .filter(layer -> layer.role() == role)
            .findFirst()
            .orElseThrow();
    return block.weight(linear);
  }

  /** The last token, which sees all others, in one head. */
  private void checkAttention(Matrix normed, Matrix attended) {
    int d = shape.headDim();
    int head = shape.heads / 2;
    int last = shape.tokens - 1;
    try (Matrix keys = new Matrix(shape.tokens, d);
        Matrix values = new Matrix(shape.tokens, d)) {
      float[][] key = rows(LinearRole.K_PROJ, head * d, d);
      float[][] value = rows(LinearRole.V_PROJ, head * d, d);
      IntStream.range(0, shape.tokens)
          .parallel()
          .forEach(
              t -> {
                float[] x = Expected.row(normed, t);
                keys.setRow(t, Expected.rotated(project(x, key), t));
                values.setRow(t, project(x, value));
              });
      float[] query =
          Expected.rotated(
              project(Expected.row(normed, last), rows(LinearRole.Q_PROJ, head * d, d)), last);
      double[] expected = Expected.attended(query, keys, values, 0, last);
      for (int j = 0; j < d; j++) {
        // Scores have deviations of several units here, and their rounding is that much larger.
        Expected.close(
            "attention(" + last + ", " + (head * d + j) + ")",
            expected[j],
            Expected.element(attended, last, head * d + j),
            1e-3);
      }
    }
  }

  private float[][] rows(LinearRole role, int first, int count) {
    float[][] rows = new float[count][];
    for (int r = 0; r < count; r++) {
      rows[r] = weight(role, first + r);
    }
    return rows;
  }

  private static float[] project(float[] x, float[][] w) {
    float[] out = new float[w.length];
    for (int o = 0; o < w.length; o++) {
      out[o] = (float) Expected.Dot.of(x, w[o]).sum();
    }
    return out;
  }

  private void checkToken(int t, Map<LinearInput, Matrix> seen) {
    float[] before = Expected.row(input, t);
    double[] normed = Expected.normalized(before, attentionGain, EPSILON);
    float[] sum = before.clone(); // behind attention
    float[] attended = Expected.row(seen.get(LinearInput.ATTENTION_OUTPUT), t);
    for (int o = 0; o < shape.hidden; o++) {
      sum[o] += (float) Expected.Dot.of(attended, weight(LinearRole.O_PROJ, o)).sum();
    }
    double[] mlp = Expected.normalized(sum, mlpGain, EPSILON);
    for (int j = 0; j < shape.hidden; j++) {
      Expected.close(
          "attention's input " + t + ", " + j,
          normed[j],
          Expected.element(seen.get(LinearInput.ATTENTION), t, j));
      Expected.close(
          "the MLP's input " + t + ", " + j,
          mlp[j],
          Expected.element(seen.get(LinearInput.MLP), t, j),
          1e-4);
    }
    float[] inner = Expected.row(seen.get(LinearInput.MLP), t);
    for (int o : Expected.sample(shape.intermediate)) {
      double gate = Expected.Dot.of(inner, weight(LinearRole.GATE_PROJ, o)).sum();
      double up = Expected.Dot.of(inner, weight(LinearRole.UP_PROJ, o)).sum();
      Expected.close(
          "down_proj's input " + t + ", " + o,
          Expected.silu(gate) * up,
          Expected.element(seen.get(LinearInput.MLP_OUTPUT), t, o),
          1e-4 * (1 + Math.abs(up)));
    }
    float[] activated = Expected.row(seen.get(LinearInput.MLP_OUTPUT), t);
    for (int o : Expected.sample(shape.hidden)) {
      Expected.Dot dot = Expected.Dot.of(activated, weight(LinearRole.DOWN_PROJ, o));
      Expected.close(
          "the block's output " + t + ", " + o,
          sum[o] + dot.sum(),
          Expected.element(hidden, t, o),
          1e-4 + 2e-6 * dot.magnitude());
    }
  }

  /** The block replaces its input, and hidden states that go through it again and again explode. */
  @Setup(Level.Invocation)
  public void refill() {
    hidden.set(input);
  }

  @Benchmark
  public void advance(Flops done) {
    block.advance(hidden, buffers, ActivationObserver.NONE);
    done.flops += 2.0 * shape.tokens * shape.weights();
  }

  /** What statistics need: everything but down_proj. */
  @Benchmark
  public void observe(Flops done) {
    block.observe(hidden, buffers, ActivationObserver.NONE);
    long down = (long) shape.hidden * shape.intermediate;
    done.flops += 2.0 * shape.tokens * (shape.weights() - down);
  }

  @TearDown
  public void close() {
    block.close();
    buffers.close();
    input.close();
    hidden.close();
  }
}
