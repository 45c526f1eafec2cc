package ai.owl.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RandomMatrix;
import ai.owl.tensor.Truth;
import java.io.IOException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PatchEmbeddingTest {
  private static final String EMBEDDINGS = "vit.embeddings.";

  private final MemoryStorage storage = new MemoryStorage();
  private final TensorReader reader = new TensorReader(storage);

  @AfterEach
  void close() throws IOException {
    reader.close();
  }

  /** Patches of 3 x 2 in an image of 7 x 9: a line and a column are left over. */
  @Test
  void isAConvolutionWithAClassTokenBefore() throws IOException {
    SampleModel vit = SampleModel.vit();
    float[] image = RandomMatrix.vector(4, 3 * 7 * 9);
    float[] weights = vit.values(EMBEDDINGS + "patch_embeddings.projection.weight");
    float[] bias = vit.values(EMBEDDINGS + "patch_embeddings.projection.bias");
    float[] positions = vit.values(EMBEDDINGS + "position_embeddings");
    Truth truth = new Truth(9, 16);
    for (int j = 0; j < 16; j++) {
      truth.set(0, j, (double) vit.values(EMBEDDINGS + "cls_token")[j] + positions[j], 1e-6);
      for (int patch = 0; patch < 8; patch++) {
        double expected = bias[j] + positions[16 * (1 + patch) + j];
        for (int channel = 0; channel < 3; channel++) {
          for (int y = 0; y < 3; y++) {
            for (int x = 0; x < 2; x++) {
              int line = 7 * channel + 3 * (patch / 4) + y;
              expected +=
                  (double) weights[((j * 3 + channel) * 3 + y) * 2 + x]
                      * image[9 * line + 2 * (patch % 4) + x];
            }
          }
        }
        truth.set(1 + patch, j, expected, 2e-6);
      }
    }
    try (PatchEmbedding embedding = PatchEmbedding.load(vit.layout(storage), reader);
        Matrix one = embedding.embed(image);
        Matrix again = embedding.embed(image)) {
      truth.holdsFor(one);
      assertThat(again.toArray()).isEqualTo(one.toArray());
    }
  }

  @Test
  void refusesImagesOfAnotherSize() throws IOException {
    try (PatchEmbedding embedding =
        PatchEmbedding.load(SampleModel.vit().layout(storage), reader)) {
      assertThatThrownBy(() -> embedding.embed(new float[3 * 9 * 9]))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Cannot embed an image of 243 values: the model takes 3 x 7 x 9 (num_channels,"
                  + " image_size)");
    }
  }

  @Test
  void refusesAModelOfText() throws IOException {
    ModelLayout model = new SampleModel().layout(storage);
    assertThatThrownBy(() -> PatchEmbedding.load(model, reader))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot run images through LlamaForCausalLM: it reads token ids; give it text");
  }

  @Test
  void refusesDamagedWeights() throws IOException {
    SampleModel vit = SampleModel.vit();
    vit.values(EMBEDDINGS + "position_embeddings")[17] = Float.NaN;
    ModelLayout model = vit.layout(storage);
    assertThatThrownBy(() -> PatchEmbedding.load(model, reader))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining("position_embeddings of model/model.safetensors: NaN at [1, 1]");
  }
}
