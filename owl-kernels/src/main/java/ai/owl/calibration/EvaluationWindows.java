package ai.owl.calibration;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The windows of the published perplexity protocol ({@code lib/eval.py} of SparseGPT, Wanda and
 * OWL): all documents joined by empty lines, tokenized as one text, cut into consecutive windows;
 * what is left over at the end is dropped. Special tokens stand where the tokenizer puts them in
 * the one text, so there is none at the beginning of the windows after the first.
 */
public final class EvaluationWindows {
  private EvaluationWindows() {}

  /** The token ids of the documents as one text. A single document is taken as it is. */
  public static int[] stream(TextDocuments documents, TextTokenizer tokenizer) {
    return tokenizer.encode(documents.joined("\n\n"));
  }

  /**
   * Cuts a stream into windows of {@code length} tokens.
   *
   * @param source where the stream came from, for messages
   * @param maxWindows how many windows at most, from the beginning; all if zero or negative
   * @throws IllegalArgumentException if the stream is shorter than one window, or a window too
   *     short to predict anything
   */
  public static TokenSequences cut(int[] stream, String source, int length, int maxWindows) {
    if (length < 2) {
      throw new IllegalArgumentException(
          "Cannot evaluate on "
              + source
              + ": a window of "
              + length
              + " tokens predicts nothing; use a --length of at least 2");
    }
    int windows = stream.length / length;
    if (windows == 0) {
      throw new IllegalArgumentException(
          "Cannot evaluate on "
              + source
              + ": it holds only "
              + stream.length
              + " tokens, less than one window of "
              + length
              + "; use a shorter --length or more text");
    }
    int wanted = maxWindows > 0 ? Math.min(windows, maxWindows) : windows;
    List<int[]> cut = new ArrayList<>(wanted);
    for (int i = 0; i < wanted; i++) {
      cut.add(Arrays.copyOfRange(stream, i * length, (i + 1) * length));
    }
    return TokenSequences.of(cut);
  }
}
