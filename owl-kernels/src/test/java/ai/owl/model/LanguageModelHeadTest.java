package ai.owl.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Against log-softmax in double precision. */
class LanguageModelHeadTest {
  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void givesTheMeanLossOfEveryWindow() throws IOException {
    check(gaussian(40, 16, 1f), 16, windows(40, 2, 31, 3, 207, 8));
    check(gaussian(7, 31, 1f), 31, windows(7, 8, 2));
    check(gaussian(1, 8, 1f), 8, windows(1, 5));
  }

  @Test
  void standsLogitsThatWouldOverflowAnExponential() throws IOException {
    check(gaussian(40, 16, 100f), 16, windows(40, 31, 2));
  }

  /** A slice holds 2^24 weights, so 256 tokens at this width. */
  @Test
  void joinsSlicesOfTheVocabulary() throws IOException {
    int width = 1 << 16;
    List<int[]> windows = List.of(new int[] {3, 258, 0, 259}, new int[] {255, 256, 255});
    float[] head = gaussian(260, width, 0.01f);
    check(head, width, windows);
    for (int i = 256 * width; i < head.length; i++) {
      head[i] *= 5; // the largest logits come last
    }
    check(head, width, windows);
  }

  private static float[] gaussian(int vocabulary, int width, float scale) {
    float[] pattern = RandomMatrix.vector(2, 9973); // a prime: no two tokens are alike
    float[] head = new float[vocabulary * width];
    for (int i = 0; i < head.length; i++) {
      head[i] = pattern[i % pattern.length] * scale;
    }
    return head;
  }

  private static List<int[]> windows(int vocabulary, int... lengths) {
    Random random = new Random(3);
    List<int[]> windows = new ArrayList<>();
    for (int length : lengths) {
      windows.add(random.ints(length, 0, vocabulary).toArray());
    }
    return windows;
  }

  private void check(float[] head, int width, List<int[]> sequences) throws IOException {
    int vocabulary = head.length / width;
    float[] gain = RandomMatrix.vector(1, width);
    ModelLayout model = layout(gain, head, width, vocabulary);
    List<Matrix> hidden = new ArrayList<>();
    double[] expected = new double[sequences.size()];
    for (int s = 0; s < expected.length; s++) {
      hidden.add(RandomMatrix.of(10 + s, sequences.get(s).length, width));
      expected[s] = loss(gain, head, hidden.get(s), sequences.get(s), vocabulary);
    }
    try (TensorReader reader = new TensorReader(storage)) {
      double[] losses = LanguageModelHead.losses(model, hidden, sequences, reader);
      for (int s = 0; s < expected.length; s++) {
        assertThat(losses[s])
            .as("window %d", s)
            .isCloseTo(expected[s], within(1e-5 * Math.max(1, expected[s])));
      }
    }
    hidden.forEach(Matrix::close);
  }

  private static double loss(float[] gain, float[] head, Matrix hidden, int[] ids, int vocabulary) {
    float[] states = hidden.toArray();
    int width = gain.length;
    double total = 0;
    for (int t = 0; t + 1 < ids.length; t++) {
      double squares = 0;
      for (int j = 0; j < width; j++) {
        squares += (double) states[t * width + j] * states[t * width + j];
      }
      double root = Math.sqrt(squares / width + 1e-5);
      double[] normed = new double[width];
      for (int j = 0; j < width; j++) {
        normed[j] = states[t * width + j] / root * gain[j];
      }
      double[] logits = new double[vocabulary];
      double max = Double.NEGATIVE_INFINITY;
      for (int v = 0; v < vocabulary; v++) {
        for (int j = 0; j < width; j++) {
          logits[v] += normed[j] * head[v * width + j];
        }
        max = Math.max(max, logits[v]);
      }
      double sum = 0;
      for (double logit : logits) {
        sum += Math.exp(logit - max);
      }
      total += max + Math.log(sum) - logits[ids[t + 1]];
    }
    return total / (ids.length - 1);
  }

  private ModelLayout layout(float[] gain, float[] head, int width, int vocabulary) {
    TensorRef norm = stored("norm", gain, List.of((long) width));
    TensorRef projection = stored("head", head, List.of((long) vocabulary, (long) width));
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putArray("architectures").add("LlamaForCausalLM");
    json.put("hidden_size", width).put("intermediate_size", 8).put("num_hidden_layers", 1);
    json.put("num_attention_heads", 1).put("head_dim", 2).put("vocab_size", vocabulary);
    json.put("rms_norm_eps", 1e-5);
    return new ModelLayout(
        ModelConfig.parse(json, "model"),
        Map.of(ModelPart.TOKEN_EMBEDDING, projection, ModelPart.HEAD, projection),
        List.of(new NormLayer("norm", width, List.of(norm), List.of())),
        List.of(),
        List.of());
  }

  /** A tensor alone in its file, without a header. */
  private TensorRef stored(String name, float[] values, List<Long> shape) {
    byte[] bytes = new byte[4 * values.length];
    DType.F32.narrow(values, values.length, bytes, 0);
    storage.files.put(name, bytes);
    return new TensorRef(name, name, DType.F32, shape, 0, bytes.length);
  }

  @Test
  void isCertainOfTheOnlyToken() throws IOException {
    ModelLayout model = layout(new float[] {1f}, new float[] {3f}, 1, 1);
    try (TensorReader reader = new TensorReader(storage);
        Matrix hidden = RandomMatrix.filled(1f, 2, 1)) {
      assertThat(
              LanguageModelHead.losses(model, List.of(hidden), List.of(new int[] {0, 0}), reader))
          .containsExactly(0);
    }
  }

  @Test
  void passesNanOn() throws IOException {
    ModelLayout model = layout(new float[] {1f, 1f}, new float[] {3f, 2f}, 2, 1);
    try (TensorReader reader = new TensorReader(storage);
        Matrix hidden = RandomMatrix.filled(Float.NaN, 2, 2)) {
      assertThat(
              LanguageModelHead.losses(model, List.of(hidden), List.of(new int[] {0, 0}), reader))
          .containsExactly(Double.NaN);
    }
  }

  /** Norm, projection and head of OPT, or what there is of them, in double precision. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void normalizesAndNarrowsWhereTheModelDoes(boolean isPostNorm) throws IOException {
    SampleModel opt = SampleModel.opt(isPostNorm);
    ModelLayout model = opt.layout(storage);
    int[] ids = {3, 39, 0, 17, 3};
    double[][] logits = new double[ids.length][40];
    try (TensorReader reader = new TensorReader(storage);
        LanguageModelHead head = LanguageModelHead.load(model, reader);
        Matrix hidden = RandomMatrix.of(5, ids.length, 16)) {
      for (int t = 0; t < ids.length; t++) {
        float[] row = new float[16];
        hidden.row(t, row);
        logits[t] = logits(opt, row);
      }
      Truth next = new Truth(1, 40);
      for (int v = 0; v < 40; v++) {
        next.set(0, v, logits[ids.length - 1][v], 1e-5);
      }
      next.holdsFor(head.nextLogits(hidden));
      double expected = 0;
      for (int t = 0; t + 1 < ids.length; t++) {
        double sum = 0;
        for (double logit : logits[t]) {
          sum += Math.exp(logit);
        }
        expected += (Math.log(sum) - logits[t][ids[t + 1]]) / (ids.length - 1);
      }
      assertThat(LanguageModelHead.losses(model, List.of(hidden), List.of(ids), reader)[0])
          .isCloseTo(expected, within(1e-5));
    }
  }

  /** Gemma 2: gains around one, logits within 1.5. */
  @Test
  void boundsLogitsWhereTheModelDoes() throws IOException {
    SampleModel gemma = new SampleModel().gemma2();
    ModelLayout model = gemma.layout(storage);
    float[] gain = gemma.values("model.norm.weight");
    int[] ids = {3, 39, 17};
    double expected = 0;
    try (TensorReader reader = new TensorReader(storage);
        LanguageModelHead head = LanguageModelHead.load(model, reader);
        Matrix hidden = RandomMatrix.of(5, 3, 16)) {
      for (int t = 0; t < 3; t++) {
        float[] row = new float[16];
        hidden.row(t, row);
        double squares = 0;
        for (float value : row) {
          squares += (double) value * value;
        }
        double[] states = new double[16];
        for (int j = 0; j < 16; j++) {
          states[j] = row[j] / Math.sqrt(squares / 16 + 1e-6) * (1 + gain[j]);
        }
        double[] logits = product(gemma.values("lm_head.weight"), states);
        double sum = 0;
        Truth next = new Truth(1, 40);
        for (int v = 0; v < 40; v++) {
          logits[v] = 1.5 * Math.tanh(logits[v] / 1.5);
          sum += Math.exp(logits[v]);
          next.set(0, v, logits[v], 1e-5);
        }
        next.holdsFor(head.nextLogits(hidden.firstRows(t + 1)));
        expected += t == 2 ? 0 : (Math.log(sum) - logits[ids[t + 1]]) / 2;
      }
      assertThat(LanguageModelHead.losses(model, List.of(hidden), List.of(ids), reader)[0])
          .isCloseTo(expected, within(1e-5));
    }
  }

  private static double[] logits(SampleModel opt, float[] hidden) {
    double[] states = new double[16];
    for (int j = 0; j < 16; j++) {
      states[j] = hidden[j];
    }
    String norm = "model.decoder.final_layer_norm";
    if (opt.tensors.containsKey(norm + ".weight")) {
      double mean = Arrays.stream(states).average().orElseThrow();
      double variance = Arrays.stream(states).map(x -> (x - mean) * (x - mean)).sum() / 16;
      for (int j = 0; j < 16; j++) {
        states[j] =
            (states[j] - mean) / Math.sqrt(variance + 1e-5) * opt.values(norm + ".weight")[j]
                + opt.values(norm + ".bias")[j];
      }
    }
    String projection = "model.decoder.project_out.weight";
    if (opt.tensors.containsKey(projection)) {
      states = product(opt.values(projection), states);
    }
    return product(opt.values("model.decoder.embed_tokens.weight"), states);
  }

  private static double[] product(float[] weights, double[] x) {
    double[] y = new double[weights.length / x.length];
    for (int i = 0; i < weights.length; i++) {
      y[i / x.length] += weights[i] * x[i % x.length];
    }
    return y;
  }
}
