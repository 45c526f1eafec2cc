package ai.owl.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.ModelLayout;
import ai.owl.model.TokenEmbedding;
import ai.owl.oracle.Fixture;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class TextGeneratorTest {
  private static final LocalStorage STORAGE = new LocalStorage();
  private static final int[] PROMPT = {5, 17, 3, 42, 8};

  static Stream<Fixture> models() {
    return Fixture.golden().stream();
  }

  @ParameterizedTest
  @MethodSource("models")
  void theCacheChangesNothing(Fixture fixture) throws IOException {
    // Sliding windows, scaled rotations, learned positions, biases and tied heads are among the
    // models.
    int[] added;
    try (TextGenerator generator = TextGenerator.load(STORAGE, fixture.model())) {
      added = generator.generate(PROMPT, 20, 0, 0, token -> {});
    }
    assertThat(added).hasSizeBetween(1, 20);
    int[] ids = PROMPT;
    for (int token : added) {
      assertThat(likeliestWithoutCache(fixture, ids)).isEqualTo(token);
      ids = Arrays.copyOf(ids, ids.length + 1);
      ids[ids.length - 1] = token;
    }
  }

  private static int likeliestWithoutCache(Fixture fixture, int[] ids) throws IOException {
    ModelLayout model = ModelLayout.of(Checkpoint.open(STORAGE, fixture.model()));
    try (TensorReader reader = new TensorReader(STORAGE);
        ForwardBuffers buffers = new ForwardBuffers(model.config());
        Matrix hidden = TokenEmbedding.embed(model, List.of(ids), reader).get(0);
        LanguageModelHead head = LanguageModelHead.load(model, reader)) {
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          block.advance(hidden, buffers, ActivationObserver.NONE);
        }
      }
      float[] logits = head.nextLogits(hidden);
      int best = 0;
      for (int i = 1; i < logits.length; i++) {
        best = logits[i] > logits[best] ? i : best;
      }
      return best;
    }
  }

  @Test
  void theSameSeedDrawsTheSameTextAndAnotherAnother() throws IOException {
    String model = Fixture.golden("llama-f32").model();
    try (TextGenerator generator = TextGenerator.load(STORAGE, model)) {
      List<Integer> told = new ArrayList<>();
      int[] one = generator.generate(PROMPT, 30, 1.5, 7, told::add);
      assertThat(generator.generate(PROMPT, 30, 1.5, 7, token -> {})).isEqualTo(one);
      assertThat(generator.generate(PROMPT, 30, 1.5, 8, token -> {})).isNotEqualTo(one);
      assertThat(told).containsExactlyElementsOf(Arrays.stream(one).boxed().toList());
    }
  }

  /** One position more would be its 33rd; a model with rotary positions has no such end. */
  @Test
  void stopsShortOfPositionsThatNobodyLearned() throws IOException {
    try (TextGenerator generator = TextGenerator.load(STORAGE, Fixture.golden("opt-f16").model())) {
      assertThat(generator.generate(PROMPT, 28, 0, 0, token -> {})).isNotEmpty();
      assertThatThrownBy(() -> generator.generate(PROMPT, 29, 0, 0, token -> {}))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "Cannot run a sequence of 33 tokens: the model has learned 32 positions"
                  + " (max_position_embeddings), and knows none beyond; shorten the prompt of 5"
                  + " tokens, or --tokens 29");
    }
    try (TextGenerator generator =
        TextGenerator.load(STORAGE, Fixture.golden("llama-f32").model())) {
      assertThat(generator.generate(PROMPT, 70, 0, 0, token -> {})).isNotEmpty();
    }
  }

  @Test
  void refusesAModelOfImages() {
    Path vit = Path.of(System.getProperty("owl.golden")).resolveSibling("golden-images/vit-bf16");
    assertThatThrownBy(() -> TextGenerator.load(STORAGE, vit.resolve("model").toString()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("Cannot run token ids through ViTForImageClassification");
  }
}
