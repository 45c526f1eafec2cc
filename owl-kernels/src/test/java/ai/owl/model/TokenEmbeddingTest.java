package ai.owl.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
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
  void refusesDamagedRowsThatAreUsed() throws IOException {
    sample.values(TABLE)[5 * 16 + 2] = Float.NaN;
    ModelLayout model = sample.layout(storage);
    TokenEmbedding.embed(model, List.of(new int[] {4, 6}), reader).forEach(Matrix::close);
    assertThatThrownBy(() -> TokenEmbedding.embed(model, List.of(new int[] {4, 5}), reader))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining(TABLE + " of model/model.safetensors: NaN at [5, 2]");
  }
}
