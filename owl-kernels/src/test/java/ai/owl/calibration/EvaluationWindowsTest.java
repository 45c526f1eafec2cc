package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.List;
import org.junit.jupiter.api.Test;

class EvaluationWindowsTest {
  private static final int[] STREAM = {2, 3, 5, 7, 11, 13, 17};

  @Test
  void cutsConsecutiveWindowsAndDropsTheTail() {
    assertThat(EvaluationWindows.cut(STREAM, "wiki.txt", 3, 0))
        .isEqualTo(TokenSequences.of(List.of(new int[] {2, 3, 5}, new int[] {7, 11, 13})));
  }

  @Test
  void cutsNoMoreThanAskedFor() {
    assertThat(EvaluationWindows.cut(STREAM, "wiki.txt", 2, 2))
        .isEqualTo(TokenSequences.of(List.of(new int[] {2, 3}, new int[] {5, 7})));
    assertThat(EvaluationWindows.cut(STREAM, "wiki.txt", 2, 100).count()).isEqualTo(3);
  }

  @Test
  void takesAStreamOfOneWindow() {
    assertThat(EvaluationWindows.cut(STREAM, "wiki.txt", 7, -1).sequence(0))
        .containsExactly(STREAM);
  }

  @Test
  void refusesLessThanOneWindow() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> EvaluationWindows.cut(STREAM, "wiki.txt", 2048, 0))
        .withMessage(
            "Cannot evaluate on wiki.txt: it holds only 7 tokens, less than one window of 2048; use"
                + " a shorter --length or more text");
  }

  @Test
  void refusesWindowsWithoutAPrediction() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> EvaluationWindows.cut(STREAM, "wiki.txt", 1, 0))
        .withMessage(
            "Cannot evaluate on wiki.txt: a window of 1 tokens predicts nothing; use a --length of"
                + " at least 2");
  }

  @Test
  void tokenizesDocumentsAsOneText() {
    try (TextTokenizer tokenizer = SampleTokenizers.load(SampleTokenizers.BYTE_FALLBACK);
        TextDocuments one = SampleTokenizers.documents("an owl\n");
        TextDocuments three = SampleTokenizers.documents("an owl", "", "a fox")) {
      assertThat(EvaluationWindows.stream(one, tokenizer)).isEqualTo(tokenizer.encode("an owl\n"));
      assertThat(EvaluationWindows.stream(three, tokenizer))
          .isEqualTo(tokenizer.encode("an owl\n\n\n\na fox"));
    }
  }
}
