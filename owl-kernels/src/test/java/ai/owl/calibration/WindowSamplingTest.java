package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.StringJoiner;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class WindowSamplingTest {
  private TextTokenizer tokenizer = SampleTokenizers.load(SampleTokenizers.BYTE_LEVEL);

  @AfterEach
  void close() {
    tokenizer.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {SampleTokenizers.BYTE_LEVEL, SampleTokenizers.BYTE_FALLBACK})
  void drawsWhatThePublishedCodeDraws(String name) {
    use(name);
    JsonNode expected = SampleTokenizers.expected(name).get("published");
    List<String> texts = trees();
    try (TextDocuments documents = SampleTokenizers.documents(texts)) {
      TokenSequences windows = WindowSampling.PUBLISHED.sample(documents, tokenizer, 8, 256, 3);
      for (int i = 0; i < windows.count(); i++) {
        int[] ids = tokenizer.encode(texts.get(expected.get("draws").get(i).get(0).intValue()));
        int offset = expected.get("draws").get(i).get(1).intValue();
        assertThat(windows.sequence(i))
            .containsExactly(Arrays.copyOfRange(ids, offset, offset + 256));
      }
      assertThat(windows.sequence(0)).startsWith(SampleTokenizers.ints(expected.get("first")));
      assertThat(windows.digest()).isEqualTo(expected.get("digest").textValue());
    }
  }

  @Test
  void drawsOtherWindowsFromAnotherSeed() {
    try (TextDocuments documents = SampleTokenizers.documents(trees())) {
      assertThat(WindowSampling.PUBLISHED.sample(documents, tokenizer, 8, 256, 4))
          .isNotEqualTo(WindowSampling.PUBLISHED.sample(documents, tokenizer, 8, 256, 3))
          .isEqualTo(WindowSampling.PUBLISHED.sample(documents, tokenizer, 8, 256, 4));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {SampleTokenizers.BYTE_LEVEL, SampleTokenizers.BYTE_FALLBACK})
  void packsDocumentsIntoOneStream(String name) {
    use(name);
    try (TextDocuments documents = SampleTokenizers.documents(trees())) {
      assertThat(WindowSampling.PACKED.sample(documents, tokenizer, 16, 256, 0).digest())
          .isEqualTo(SampleTokenizers.expected(name).get("packed").get("digest").textValue());
    }
  }

  @Test
  void wantsDocumentsLongerThanTheWindow() {
    int length = tokenizer.encode("the owl").length;
    try (TextDocuments documents = SampleTokenizers.documents("the owl")) {
      TokenSequences window =
          WindowSampling.PUBLISHED.sample(documents, tokenizer, 3, length - 1, 0);
      for (int i = 0; i < 3; i++) {
        assertThat(window.sequence(i))
            .containsExactly(Arrays.copyOf(tokenizer.encode("the owl"), length - 1));
      }
      assertThatIllegalArgumentException()
          .isThrownBy(() -> WindowSampling.PUBLISHED.sample(documents, tokenizer, 3, length, 0))
          .withMessage(
              "Cannot draw 3 windows of %d tokens from memory: the longest document seen has %d"
                  + " tokens, and it takes more than a window; use --sampling packed, or a shorter"
                  + " --length",
              length, length);
    }
  }

  @Test
  void findsTheOneLongDocumentAmongThousands() {
    List<String> texts = new ArrayList<>(Collections.nCopies(5000, "too short"));
    texts.set(1234, trees().get(0));
    try (TextDocuments documents = SampleTokenizers.documents(texts)) {
      TokenSequences windows = WindowSampling.PUBLISHED.sample(documents, tokenizer, 2, 64, 0);
      assertThat(IntStream.range(0, 2).mapToObj(windows::sequence))
          .allSatisfy(window -> assertThat(tokenizer.decode(window)).contains("lost branch"));
    }
  }

  @Test
  void givesUpOnceNoneOfThousandsIsLongEnough() {
    List<String> texts = new ArrayList<>(Collections.nCopies(5000, "too short"));
    texts.set(4321, "the owl is the longest of all, not long enough");
    int longest = tokenizer.encode(texts.get(4321)).length;
    try (TextDocuments documents = SampleTokenizers.documents(texts)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> WindowSampling.PUBLISHED.sample(documents, tokenizer, 128, 100, 0))
          .withMessageContaining("the longest document seen has " + longest + " tokens, and");
    }
  }

  @Test
  void saysThatTextIsShorterThanAWindow() {
    int tokens = tokenizer.encode("an owl").length + tokenizer.encode("a fox").length;
    try (TextDocuments documents = SampleTokenizers.documents("an owl", "a fox")) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> WindowSampling.PACKED.sample(documents, tokenizer, 1, 2048, 0))
          .withMessage(
              "Cannot cut a window of 2048 tokens from memory: it holds only %d tokens; use a"
                  + " shorter --length or more text",
              tokens);
    }
  }

  @Test
  void saysHowManyWindowsThereAre() {
    int tokens = tokenizer.encode("an owl").length + tokenizer.encode("a fox").length;
    try (TextDocuments documents = SampleTokenizers.documents("an owl", "a fox")) {
      assertThat(WindowSampling.PACKED.sample(documents, tokenizer, tokens / 2, 2, 0).count())
          .isEqualTo(tokens / 2);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> WindowSampling.PACKED.sample(documents, tokenizer, 128, 2, 0))
          .withMessage(
              "Cannot cut 128 windows of 2 tokens from memory: its %d tokens make only %d; use"
                  + " --sequences %d, a shorter --length or more text",
              tokens, tokens / 2, tokens / 2);
    }
  }

  @ParameterizedTest
  @EnumSource
  void refusesNoWindows(WindowSampling sampling) {
    try (TextDocuments documents = SampleTokenizers.documents("an owl")) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> sampling.sample(documents, tokenizer, 0, 16, 0))
          .withMessage(
              "Cannot sample 0 windows of 16 tokens: --sequences and --length are at least 1");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> sampling.sample(documents, tokenizer, 1, 0, 0));
    }
  }

  private void use(String name) {
    tokenizer.close();
    tokenizer = SampleTokenizers.load(name);
  }

  /** What documents() of make_tokenizers.py makes. */
  private static List<String> trees() {
    List<String> trees = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      StringJoiner sentences = new StringJoiner(" ");
      for (int j = 0; j < 8 + i * 37 % 73; j++) {
        sentences.add("Tree " + i + " lost branch " + j * j + ".");
      }
      trees.add(sentences.toString());
    }
    return trees;
  }
}
