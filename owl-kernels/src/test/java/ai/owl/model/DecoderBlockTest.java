package ai.owl.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Blas;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import java.io.IOException;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

class DecoderBlockTest {
  private static final int[] LENGTHS = {31, 1, 207, 8, 130, 207, 7};

  private final MemoryStorage storage = new MemoryStorage();
  private SampleModel sample = new SampleModel();

  @Test
  void computesWhatItsDescriptionSays() throws IOException {
    checkAgainstTheEquations(9);
    checkAgainstTheEquations(130);
  }

  @Test
  void addsBiases() throws IOException {
    sample.config.put("attention_bias", true).put("mlp_bias", true);
    for (int block = 0; block < 2; block++) {
      String prefix = "model.layers." + block + ".";
      sample.add(prefix + "self_attn.q_proj.bias", 16).add(prefix + "self_attn.k_proj.bias", 8);
      sample.add(prefix + "self_attn.v_proj.bias", 8).add(prefix + "self_attn.o_proj.bias", 16);
      sample.add(prefix + "mlp.gate_proj.bias", 24).add(prefix + "mlp.up_proj.bias", 24);
      sample.add(prefix + "mlp.down_proj.bias", 16);
    }
    checkAgainstTheEquations(31);
  }

  @Test
  void looksBackAsFarAsTheWindowGoes() throws IOException {
    sample.config.putArray("architectures").add("MistralForCausalLM");
    sample.config.put("sliding_window", 5);
    checkAgainstTheEquations(31);
    checkAgainstTheEquations(140);
  }

  @Test
  void takesHeadsThatAreNotAsWideAsTheHiddenStates() throws IOException {
    sample.config.put("head_dim", 6);
    for (String prefix : new String[] {"model.layers.0.", "model.layers.1."}) {
      sample.add(prefix + "self_attn.q_proj.weight", 24, 16);
      sample.add(prefix + "self_attn.k_proj.weight", 12, 16);
      sample.add(prefix + "self_attn.v_proj.weight", 12, 16);
      sample.add(prefix + "self_attn.o_proj.weight", 16, 24);
    }
    checkAgainstTheEquations(31);
  }

  @Test
  void gatesWithOtherActivations() throws IOException {
    for (String name : List.of("relu", "gelu_pytorch_tanh")) {
      sample.config.put("hidden_act", name);
      checkAgainstTheEquations(9);
    }
  }

  @Test
  void normalizesQueriesAndKeysHeadByHead() throws IOException {
    sample.config.putArray("architectures").add("Qwen3ForCausalLM");
    sample.config.put("head_dim", 4);
    for (String prefix : new String[] {"model.layers.0.", "model.layers.1."}) {
      sample.add(prefix + "self_attn.q_norm.weight", 4).add(prefix + "self_attn.k_norm.weight", 4);
    }
    checkAgainstTheEquations(31);
  }

  @Test
  void takesFusedLayersApart() throws IOException {
    ModelLayout apart = sample.layout(storage);
    Map<String, float[]> before = new HashMap<>();
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(apart.config(), apart.blocks().get(1), reader);
        ForwardBuffers buffers = new ForwardBuffers(apart.config())) {
      for (int tokens : new int[] {1, 31}) {
        before.put("" + tokens, advanced(block, buffers, RandomMatrix.of(5, tokens, 16)));
      }
    }
    sample.fuse();
    ModelLayout fused = sample.layout(storage);
    assertThat(fused.blocks().get(1).linears())
        .extracting(LinearLayer::path)
        .containsExactly(
            "self_attn.o_proj", "self_attn.qkv_proj", "mlp.gate_up_proj", "mlp.down_proj");
    assertThat(fused.prunableWeights()).isEqualTo(apart.prunableWeights());
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(fused.config(), fused.blocks().get(1), reader);
        ForwardBuffers buffers = new ForwardBuffers(fused.config())) {
      for (int tokens : new int[] {1, 31}) {
        // The products are the same ones, so nothing is rounded otherwise.
        assertThat(advanced(block, buffers, RandomMatrix.of(5, tokens, 16)))
            .isEqualTo(before.get("" + tokens));
      }
      // What is pruned is the fused layer, and the block runs on what is left of it.
      LinearLayer qkv = fused.blocks().get(1).linears().get(1);
      try (Matrix weight = block.weight(qkv)) {
        weight.setRow(31, new float[16]);
        block.replace(qkv, weight);
      }
      assertThat(advanced(block, buffers, RandomMatrix.of(5, 31, 16)))
          .isNotEqualTo(before.get("31"));
    }
  }

  @Test
  void givesEveryBlockItsOwnWindow() throws IOException {
    sample.config.putArray("architectures").add("Qwen2ForCausalLM");
    for (String prefix : new String[] {"model.layers.0.", "model.layers.1."}) {
      sample.addWithBias(prefix + "self_attn.q_proj", 16, 16);
      sample.addWithBias(prefix + "self_attn.k_proj", 8, 16);
      sample.addWithBias(prefix + "self_attn.v_proj", 8, 16);
    }
    sample.config.put("use_sliding_window", true).put("sliding_window", 5);
    sample.config.put("max_window_layers", 1);
    checkAgainstTheEquations(31);
    sample.config.put("max_window_layers", 2);
    checkAgainstTheEquations(31);
  }

  @Test
  void normalizesOnTheWayInAsMostOpts() throws IOException {
    sample = SampleModel.opt(false);
    checkAgainstTheEquations(31);
    sample.config.put("activation_function", "gelu");
    checkAgainstTheEquations(31);
  }

  @Test
  void normalizesTheSumsAsOpt350m() throws IOException {
    sample = SampleModel.opt(true);
    checkAgainstTheEquations(31);
  }

  @Test
  void doesWithoutBiasesAndGains() throws IOException {
    sample = SampleModel.opt(false);
    sample.config.put("enable_bias", false).put("layer_norm_elementwise_affine", false);
    sample.tensors.keySet().removeIf(name -> name.contains("norm") || name.endsWith("bias"));
    checkAgainstTheEquations(31);
  }

  @Test
  void normalizesOnBothSidesAndBoundsScoresAsGemma2() throws IOException {
    sample.gemma2();
    checkAgainstTheEquations(31); // the second block, which has no window
    sample.config.putArray("layer_types").add("full_attention").add("sliding_attention");
    checkAgainstTheEquations(31);
    sample.config.putNull("attn_logit_softcapping");
    checkAgainstTheEquations(31);
  }

  @Test
  void looksToBothSidesInAVisionTransformer() throws IOException {
    sample = SampleModel.vit();
    checkAgainstTheEquations(9);
  }

  /** The second block on random hidden states, in double precision. */
  private void checkAgainstTheEquations(int tokens) throws IOException {
    ModelLayout model = sample.layout(storage);
    Equations equations = new Equations(model.config());
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(model.config(), model.blocks().get(1), reader);
        ForwardBuffers buffers = new ForwardBuffers(model.config());
        Matrix hidden = RandomMatrix.of(5, tokens, 16)) {
      double[][] expected = equations.advance(rows(hidden));
      Recorder seen = new Recorder();
      block.advance(hidden, buffers, seen);
      assertClose(hidden.toArray(), expected);
      equations.inputs.forEach((input, x) -> assertClose(seen.last(input), x));
      assertThat(seen.order).containsExactly(LinearInput.values());
    }
  }

  private static void assertClose(float[] found, double[][] expected) {
    Truth truth = new Truth(expected.length, expected[0].length);
    for (int i = 0; i < expected.length; i++) {
      for (int j = 0; j < expected[i].length; j++) {
        truth.set(i, j, expected[i][j], 1e-5 * Math.max(1, Math.abs(expected[i][j])));
      }
    }
    truth.holdsFor(found);
  }

  @Test
  void showsTheSameWithoutAdvancing() throws IOException {
    ModelLayout model = sample.layout(storage);
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(model.config(), model.blocks().get(0), reader);
        ForwardBuffers buffers = new ForwardBuffers(model.config());
        Matrix hidden = RandomMatrix.of(5, 31, 16)) {
      float[] before = hidden.toArray();
      Recorder observed = new Recorder();
      block.observe(hidden, buffers, observed);
      assertThat(hidden.toArray()).isEqualTo(before);
      Recorder advanced = new Recorder();
      block.advance(hidden, buffers, advanced);
      assertThat(hidden.toArray()).isNotEqualTo(before);
      assertThat(observed.order).isEqualTo(advanced.order).containsExactly(LinearInput.values());
      for (LinearInput input : LinearInput.values()) {
        assertThat(observed.last(input)).as(input.name()).isEqualTo(advanced.last(input));
      }
    }
  }

  @Test
  void runsSequencesOfDifferentLengthsThroughTheSameBuffers() throws IOException {
    ModelLayout model = sample.layout(storage);
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(model.config(), model.blocks().get(0), reader);
        ForwardBuffers shared = new ForwardBuffers(model.config())) {
      for (int tokens : LENGTHS) {
        try (ForwardBuffers own = new ForwardBuffers(model.config());
            Matrix one = RandomMatrix.of(tokens, tokens, 16);
            Matrix other = RandomMatrix.of(tokens, tokens, 16)) {
          block.advance(one, own, ActivationObserver.NONE);
          block.advance(other, shared, ActivationObserver.NONE);
          assertThat(other.toArray()).as("%d tokens", tokens).isEqualTo(one.toArray());
        }
      }
    }
  }

  @Test
  void givesEarlierTokensTheSameStatesWhateverComesLater() throws IOException {
    ModelLayout model = sample.layout(storage);
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(model.config(), model.blocks().get(0), reader);
        ForwardBuffers buffers = new ForwardBuffers(model.config());
        Matrix whole = RandomMatrix.of(5, 40, 16);
        Matrix changed = RandomMatrix.of(5, 40, 16)) {
      changed.setRow(39, RandomMatrix.vector(6, 16));
      block.advance(whole, buffers, ActivationObserver.NONE);
      block.advance(changed, buffers, ActivationObserver.NONE);
      assertThat(changed.firstRows(39).toArray()).isEqualTo(whole.firstRows(39).toArray());
    }
  }

  @Test
  void servesSeveralThreadsAtOnce() throws Exception {
    ModelLayout model = sample.layout(storage);
    int sequences = 24;
    Function<Integer, Matrix> sequence = s -> RandomMatrix.of(s, LENGTHS[s % LENGTHS.length], 16);
    ExecutorService threads = Executors.newFixedThreadPool(2);
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(model.config(), model.blocks().get(0), reader);
        ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      List<float[]> alone = new ArrayList<>();
      for (int s = 0; s < sequences; s++) {
        alone.add(advanced(block, buffers, sequence.apply(s)));
      }
      List<Future<List<float[]>>> halves = new ArrayList<>();
      for (int half = 0; half < 2; half++) {
        int first = half;
        halves.add(
            threads.submit(
                () -> {
                  List<float[]> results = new ArrayList<>();
                  try (ForwardBuffers own = new ForwardBuffers(model.config())) {
                    for (int s = first; s < sequences; s += 2) {
                      results.add(advanced(block, own, sequence.apply(s)));
                    }
                  }
                  return results;
                }));
      }
      for (int s = 0; s < sequences; s++) {
        assertThat(halves.get(s % 2).get().get(s / 2)).as("%d", s).isEqualTo(alone.get(s));
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void givesTheSameBitsWithOneThreadInAProductAndWithTwo() throws IOException {
    SampleModel wide = new SampleModel();
    for (String name : List.copyOf(wide.tensors.keySet())) {
      long[] shape =
          wide.tensors.get(name).shape().stream()
              .mapToLong(size -> size == 40 ? 40 : 16 * size)
              .toArray();
      wide.add(name, shape);
    }
    wide.config.put("hidden_size", 256).put("intermediate_size", 384);
    ModelLayout model = wide.layout(storage);
    int threads = Blas.threads();
    try (TensorReader reader = new TensorReader(storage);
        DecoderBlock block = DecoderBlock.load(model.config(), model.blocks().get(0), reader);
        ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      Blas.setThreads(1);
      float[] one = advanced(block, buffers, RandomMatrix.of(5, 600, 256));
      Blas.setThreads(2);
      assertThat(advanced(block, buffers, RandomMatrix.of(5, 600, 256))).isEqualTo(one);
    } finally {
      Blas.setThreads(threads);
    }
  }

  /** Whether its zeros were read or came of pruning: on the same weights it runs the same. */
  @Test
  void runsPrunedAsLoadedPruned() throws IOException {
    for (boolean fused : new boolean[] {false, true}) {
      sample = new SampleModel();
      if (fused) {
        sample.fuse();
      }
      ModelLayout dense = sample.layout(storage);
      try (TensorReader reader = new TensorReader(storage);
          DecoderBlock block = DecoderBlock.load(dense.config(), dense.blocks().get(1), reader);
          DecoderBlock looked =
              DecoderBlock.loadWeights(dense.config(), dense.blocks().get(1), reader);
          ForwardBuffers buffers = new ForwardBuffers(dense.config())) {
        advanced(block, buffers, RandomMatrix.of(5, 31, 16));
        for (LinearLayer linear : dense.blocks().get(1).linears()) {
          for (DecoderBlock one : List.of(block, looked)) {
            try (Matrix weight = one.weight(linear)) {
              keepOneOfSix(weight);
              one.replace(linear, weight);
            }
          }
          try (Matrix weight = block.weight(linear);
              Matrix other = looked.weight(linear)) {
            assertThat(weight.toArray()).isEqualTo(other.toArray());
            System.arraycopy(
                weight.toArray(), 0, sample.values(linear.weight().name()), 0, (int) weight.size());
          }
        }
        ModelLayout pruned = sample.layout(storage);
        try (TensorReader again = new TensorReader(storage);
            DecoderBlock loaded =
                DecoderBlock.load(pruned.config(), pruned.blocks().get(1), again)) {
          for (int tokens : new int[] {1, 31, 130}) {
            assertThat(advanced(block, buffers, RandomMatrix.of(5, tokens, 16)))
                .as("%d tokens, %s", tokens, fused ? "fused" : "apart")
                .isEqualTo(advanced(loaded, buffers, RandomMatrix.of(5, tokens, 16)));
          }
        }
      }
    }
  }

  private static void keepOneOfSix(Matrix weight) {
    float[] row = new float[weight.cols()];
    for (long r = 0; r < weight.rows(); r++) {
      weight.row(r, row);
      for (int j = 0; j < row.length; j++) {
        row[j] = (r + j) % 6 == 0 ? row[j] : 0f;
      }
      weight.setRow(r, row);
    }
  }

  private static float[] advanced(DecoderBlock block, ForwardBuffers buffers, Matrix hidden) {
    try (hidden) {
      block.advance(hidden, buffers, ActivationObserver.NONE);
      return hidden.toArray();
    }
  }

  @Test
  void refusesDamagedWeights() throws IOException {
    sample.values("model.layers.1.mlp.up_proj.weight")[3 * 16 + 2] = Float.NEGATIVE_INFINITY;
    ModelLayout model = sample.layout(storage);
    try (TensorReader reader = new TensorReader(storage)) {
      DecoderBlock.load(model.config(), model.blocks().get(0), reader).close();
      assertThatThrownBy(() -> DecoderBlock.load(model.config(), model.blocks().get(1), reader))
          .isInstanceOf(MalformedCheckpointException.class)
          .hasMessageContaining("model.layers.1.mlp.up_proj.weight")
          .hasMessageContaining("-Infinity at [3, 2]");
    }
  }

  /** Copies what it is shown. */
  private static final class Recorder implements ActivationObserver {
    final List<LinearInput> order = new ArrayList<>();
    private final Map<LinearInput, float[]> seen = new EnumMap<>(LinearInput.class);

    @Override
    public void observe(LinearInput input, Matrix x) {
      order.add(input);
      seen.put(input, x.toArray());
    }

    float[] last(LinearInput input) {
      return seen.get(input);
    }
  }

  private static double[][] rows(Matrix matrix) {
    double[][] rows = new double[(int) matrix.rows()][matrix.cols()];
    float[] all = matrix.toArray();
    for (int i = 0; i < all.length; i++) {
      rows[i / matrix.cols()][i % matrix.cols()] = all[i];
    }
    return rows;
  }

  /** The block as its Javadoc writes it, one number after the other. */
  private final class Equations {
    final Map<LinearInput, double[][]> inputs = new EnumMap<>(LinearInput.class);
    private final ModelConfig config;

    Equations(ModelConfig config) {
      this.config = config;
    }

    double[][] advance(double[][] h) {
      return switch (config.architecture()) {
        case OPT -> advanceOpt(h);
        case VIT -> advanceVit(h);
        default -> advanceLlama(h);
      };
    }

    private double[][] advanceLlama(double[][] h) {
      boolean isGemma = config.architecture() == Architecture.GEMMA2;
      double[][] n = rootMeanSquare(h, "input_layernorm");
      inputs.put(LinearInput.ATTENTION, n);
      double[][] q = linear(n, "self_attn.q_proj");
      double[][] k = linear(n, "self_attn.k_proj");
      if (config.architecture() == Architecture.QWEN3) {
        q = rootMeanSquare(q, "self_attn.q_norm");
        k = rootMeanSquare(k, "self_attn.k_norm");
      }
      double[][] attended = attention(rotated(q), rotated(k), linear(n, "self_attn.v_proj"));
      inputs.put(LinearInput.ATTENTION_OUTPUT, attended);
      double[][] o = linear(attended, "self_attn.o_proj");
      double[][] middle = sum(h, isGemma ? rootMeanSquare(o, "post_attention_layernorm") : o);
      double[][] m =
          rootMeanSquare(
              middle, isGemma ? "pre_feedforward_layernorm" : "post_attention_layernorm");
      inputs.put(LinearInput.MLP, m);
      double[][] gate = linear(m, "mlp.gate_proj");
      double[][] up = linear(m, "mlp.up_proj");
      for (int t = 0; t < gate.length; t++) {
        for (int j = 0; j < gate[t].length; j++) {
          gate[t][j] = activated(gate[t][j]) * up[t][j];
        }
      }
      inputs.put(LinearInput.MLP_OUTPUT, gate);
      double[][] down = linear(gate, "mlp.down_proj");
      return sum(middle, isGemma ? rootMeanSquare(down, "post_feedforward_layernorm") : down);
    }

    private double[][] advanceOpt(double[][] h) {
      boolean before = sample.config.get("do_layer_norm_before").booleanValue();
      double[][] n = before ? layerNorm(h, "self_attn_layer_norm") : h;
      inputs.put(LinearInput.ATTENTION, n);
      double[][] attended =
          attention(
              linear(n, "self_attn.q_proj"),
              linear(n, "self_attn.k_proj"),
              linear(n, "self_attn.v_proj"));
      inputs.put(LinearInput.ATTENTION_OUTPUT, attended);
      double[][] middle = sum(h, linear(attended, "self_attn.out_proj"));
      middle = before ? middle : layerNorm(middle, "self_attn_layer_norm");
      double[][] m = before ? layerNorm(middle, "final_layer_norm") : middle;
      inputs.put(LinearInput.MLP, m);
      double[][] inner = linear(m, "fc1");
      for (double[] row : inner) {
        for (int j = 0; j < row.length; j++) {
          row[j] = activated(row[j]);
        }
      }
      inputs.put(LinearInput.MLP_OUTPUT, inner);
      double[][] out = sum(middle, linear(inner, "fc2"));
      return before ? out : layerNorm(out, "final_layer_norm");
    }

    private double[][] advanceVit(double[][] h) {
      double[][] n = layerNorm(h, "layernorm_before", 1e-12);
      inputs.put(LinearInput.ATTENTION, n);
      double[][] attended =
          attention(
              linear(n, "attention.attention.query"),
              linear(n, "attention.attention.key"),
              linear(n, "attention.attention.value"));
      inputs.put(LinearInput.ATTENTION_OUTPUT, attended);
      double[][] middle = sum(h, linear(attended, "attention.output.dense"));
      double[][] m = layerNorm(middle, "layernorm_after", 1e-12);
      inputs.put(LinearInput.MLP, m);
      double[][] inner = linear(m, "intermediate.dense");
      for (double[] row : inner) {
        for (int j = 0; j < row.length; j++) {
          row[j] = activated(row[j]);
        }
      }
      inputs.put(LinearInput.MLP_OUTPUT, inner);
      return sum(middle, linear(inner, "output.dense"));
    }

    private double activated(double x) {
      return switch (config.activation()) {
        case SILU -> x / (1 + Math.exp(-x));
        case RELU -> Math.max(x, 0);
        case GELU -> {
          double below = 0.5; // of the normal distribution, by the midpoint rule
          for (int i = 0; i < 20_000; i++) {
            double t = x * (i + 0.5) / 20_000;
            below += x / 20_000 * Math.exp(-t * t / 2) / Math.sqrt(2 * Math.PI);
          }
          yield x * below;
        }
        case GELU_TANH ->
            x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
      };
    }

    private String prefix() {
      return switch (config.architecture()) {
        case OPT -> "model.decoder.layers.1.";
        case VIT -> "vit.encoder.layer.1.";
        default -> "model.layers.1.";
      };
    }

    private float[] values(String name) {
      return sample.values(prefix() + name);
    }

    private double[][] rootMeanSquare(double[][] x, String name) {
      float[] gain = values(name + ".weight");
      int one = config.architecture() == Architecture.GEMMA2 ? 1 : 0;
      double[][] y = new double[x.length][x[0].length];
      for (int t = 0; t < x.length; t++) {
        for (int first = 0; first < x[t].length; first += gain.length) {
          double squares = 0;
          for (int j = 0; j < gain.length; j++) {
            squares += x[t][first + j] * x[t][first + j];
          }
          for (int j = 0; j < gain.length; j++) {
            y[t][first + j] =
                x[t][first + j] / Math.sqrt(squares / gain.length + 1e-6) * (one + gain[j]);
          }
        }
      }
      return y;
    }

    private double[][] layerNorm(double[][] x, String name) {
      return layerNorm(x, name, 1e-5);
    }

    private double[][] layerNorm(double[][] x, String name, double epsilon) {
      boolean hasGain = sample.tensors.containsKey(prefix() + name + ".weight");
      int width = x[0].length;
      double[][] y = new double[x.length][width];
      for (int t = 0; t < x.length; t++) {
        double mean = 0;
        double variance = 0;
        for (double value : x[t]) {
          mean += value / width;
        }
        for (double value : x[t]) {
          variance += (value - mean) * (value - mean) / width;
        }
        for (int j = 0; j < width; j++) {
          double normal = (x[t][j] - mean) / Math.sqrt(variance + epsilon);
          y[t][j] =
              hasGain ? normal * values(name + ".weight")[j] + values(name + ".bias")[j] : normal;
        }
      }
      return y;
    }

    private double[][] linear(double[][] x, String name) {
      float[] w = values(name + ".weight");
      boolean hasBias = sample.tensors.containsKey(prefix() + name + ".bias");
      int in = x[0].length;
      int out = w.length / in;
      double[][] y = new double[x.length][out];
      for (int t = 0; t < x.length; t++) {
        for (int i = 0; i < out; i++) {
          y[t][i] = hasBias ? values(name + ".bias")[i] : 0;
          for (int j = 0; j < in; j++) {
            y[t][i] += x[t][j] * w[i * in + j];
          }
        }
      }
      return y;
    }

    private double[][] rotated(double[][] x) {
      int d = config.headDim();
      double[][] y = new double[x.length][x[0].length];
      for (int p = 0; p < x.length; p++) {
        for (int head = 0; head < x[p].length; head += d) {
          for (int j = 0; j < d / 2; j++) {
            double angle = p * Math.pow(10_000, -2.0 * j / d);
            double a = x[p][head + j];
            double b = x[p][head + j + d / 2];
            y[p][head + j] = a * Math.cos(angle) - b * Math.sin(angle);
            y[p][head + j + d / 2] = b * Math.cos(angle) + a * Math.sin(angle);
          }
        }
      }
      return y;
    }

    private double[][] attention(double[][] q, double[][] k, double[][] v) {
      int d = config.headDim();
      int shared = config.heads() / config.keyValueHeads();
      double[][] out = new double[q.length][q[0].length];
      for (int head = 0; head < config.heads(); head++) {
        for (int t = 0; t < q.length; t++) {
          int window = config.slidingWindow(1);
          int from = window == 0 ? 0 : Math.max(0, t - window + 1);
          int end = config.architecture() == Architecture.VIT ? q.length : t + 1;
          double[] e = new double[end];
          double total = 0;
          for (int s = from; s < end; s++) {
            double dot = 0;
            for (int j = 0; j < d; j++) {
              dot += q[t][head * d + j] * k[s][head / shared * d + j];
            }
            e[s] = Math.exp(score(dot, d));
            total += e[s];
          }
          for (int s = from; s < end; s++) {
            for (int j = 0; j < d; j++) {
              out[t][head * d + j] += e[s] / total * v[s][head / shared * d + j];
            }
          }
        }
      }
      return out;
    }

    private double score(double dot, int d) {
      if (config.architecture() != Architecture.GEMMA2) {
        return dot / Math.sqrt(d);
      }
      double score = dot / Math.sqrt(7);
      return sample.config.get("attn_logit_softcapping").isNull()
          ? score
          : 0.5 * Math.tanh(score / 0.5);
    }

    private double[][] sum(double[][] a, double[][] b) {
      double[][] sum = new double[a.length][a[0].length];
      for (int t = 0; t < a.length; t++) {
        for (int j = 0; j < a[t].length; j++) {
          sum[t][j] = a[t][j] + b[t][j];
        }
      }
      return sum;
    }
  }
}
