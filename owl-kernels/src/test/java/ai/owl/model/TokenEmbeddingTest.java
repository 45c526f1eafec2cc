package ai.owl.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.Truth;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TokenEmbeddingTest {
  private static final String TABLE = "model.embed_tokens.weight";

  private final MemoryStorage storage = new MemoryStorage();
  private final SampleModel sample = new SampleModel();
  private final TensorReader reader = new TensorReader(storage);

  @AfterEach
  void close() throws IOException {
    reader.close();
  }

  @Test
  void putsTheRowOfEachTokenAtItsPositions() throws IOException {
    Random random = new Random(4);
    check(
        List.of(
            new int[] {0},
            new int[] {39, 0, 39, 39},
            random.ints(207, 0, 40).toArray(),
            random.ints(31, 5, 9).toArray(),
            new int[] {17, 16, 15}));
  }

  @Test
  void repeatsASingleToken() throws IOException {
    int[] same = new int[300];
    Arrays.fill(same, 7);
    check(List.of(same, same));
  }

  private void check(List<int[]> sequences) throws IOException {
    List<Matrix> hidden = TokenEmbedding.embed(sample.layout(storage), sequences, reader);
    assertThat(hidden).hasSize(sequences.size());
    float[] table = sample.values(TABLE);
    for (int s = 0; s < hidden.size(); s++) {
      int[] ids = sequences.get(s);
      float[] expected = new float[ids.length * 16];
      for (int t = 0; t < ids.length; t++) {
        System.arraycopy(table, ids[t] * 16, expected, t * 16, 16);
      }
      assertThat(hidden.get(s).toArray()).isEqualTo(expected);
      hidden.get(s).close();
    }
  }

  @Test
  void widensTheCheckpointsType() throws IOException {
    ModelLayout model = sample.as(DType.BF16).layout(storage);
    try (Matrix hidden = TokenEmbedding.embed(model, List.of(new int[] {3}), reader).get(0)) {
      float[] rounded = new float[16];
      byte[] bytes = new byte[32];
      DType.BF16.narrow(Arrays.copyOfRange(sample.values(TABLE), 48, 64), 16, bytes, 0);
      DType.BF16.widen(bytes, 0, rounded, 16);
      assertThat(hidden.toArray()).isEqualTo(rounded);
    }
  }

  @Test
  void addsLearnedPositions() throws IOException {
    SampleModel opt = SampleModel.opt(false);
    ModelLayout model = opt.layout(storage);
    int[] ids = {7, 0, 7, 39};
    float[] table = opt.values("model.decoder.embed_tokens.weight");
    float[] positions = opt.values("model.decoder.embed_positions.weight");
    for (int past : new int[] {0, 5, 60}) {
      try (Matrix hidden = TokenEmbedding.embed(model, List.of(ids), past, reader).get(0)) {
        float[] expected = new float[4 * 16];
        for (int t = 0; t < 4; t++) {
          for (int j = 0; j < 16; j++) {
            // OPT's table begins two rows before position 0.
            expected[16 * t + j] = table[16 * ids[t] + j] + positions[16 * (2 + past + t) + j];
          }
        }
        assertThat(hidden.toArray()).isEqualTo(expected);
      }
    }
  }

  @Test
  void refusesPositionsThatNobodyLearned() throws IOException {
    ModelLayout model = SampleModel.opt(false).layout(storage);
    List<int[]> sequences = List.of(new int[64], new int[3]);
    TokenEmbedding.embed(model, sequences, reader).forEach(Matrix::close);
    assertThatThrownBy(() -> TokenEmbedding.embed(model, sequences, 1, reader))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot run a sequence of 65 tokens: the model has learned 64 positions"
                + " (max_position_embeddings), and knows none beyond; use shorter sequences"
                + " (--length, --tokens)");
  }

  @Test
  void scalesTheEmbeddingsOfGemma2() throws IOException {
    ModelLayout model = sample.gemma2().layout(storage);
    try (Matrix hidden = TokenEmbedding.embed(model, List.of(new int[] {7, 7}), reader).get(0)) {
      float[] expected = new float[32];
      for (int i = 0; i < 32; i++) {
        expected[i] = sample.values(TABLE)[7 * 16 + i % 16] * 4; // the root of 16
      }
      assertThat(hidden.toArray()).isEqualTo(expected);
    }
  }

  @Test
  void refusesAModelOfImages() throws IOException {
    ModelLayout model = SampleModel.vit().layout(storage);
    assertThatThrownBy(() -> TokenEmbedding.embed(model, List.of(new int[] {1}), reader))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot run token ids through ViTForImageClassification: it reads images; give it a"
                + " folder of images");
  }

  @Test
  void widensANarrowEmbedding() throws IOException {
    SampleModel opt = SampleModel.opt(true);
    float[] table = opt.values("model.decoder.embed_tokens.weight");
    float[] positions = opt.values("model.decoder.embed_positions.weight");
    float[] projection = opt.values("model.decoder.project_in.weight");
    List<int[]> sequences = List.of(new int[] {7, 0, 7, 39}, new int[] {3});
    List<Matrix> hidden = TokenEmbedding.embed(opt.layout(storage), sequences, reader);
    for (int s = 0; s < 2; s++) {
      int[] ids = sequences.get(s);
      Truth truth = new Truth(ids.length, 16);
      for (int t = 0; t < ids.length; t++) {
        for (int i = 0; i < 16; i++) {
          double expected = positions[16 * (2 + t) + i];
          for (int j = 0; j < 12; j++) {
            expected += (double) projection[12 * i + j] * table[12 * ids[t] + j];
          }
          truth.set(t, i, expected, 1e-6);
        }
      }
      truth.holdsFor(hidden.get(s));
      hidden.get(s).close();
    }
  }

  @Test
  void refusesDamagedRowsThatAreUsed() throws IOException {
    sample.values(TABLE)[5 * 16 + 2] = Float.NaN;
    ModelLayout model = sample.layout(storage);
    TokenEmbedding.embed(model, List.of(new int[] {4, 6}), reader).forEach(Matrix::close);
    assertThatThrownBy(() -> TokenEmbedding.embed(model, List.of(new int[] {4, 5}), reader))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining(TABLE + " of model/model.safetensors: NaN at [5, 2]");
  }
}
