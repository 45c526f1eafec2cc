package ai.owl.zeroshot;

import ai.owl.calibration.PackedSequences.ScoredSequence;
import ai.owl.calibration.TextTokenizer;
import java.text.Normalizer;
import java.util.Arrays;
import java.util.Locale;
import java.util.OptionalInt;

/** How a choice becomes tokens, and their log-probabilities a score. */
public enum Scoring {
  /**
   * lm-evaluation-harness 0.4: white space at the end of the context moves to the continuation;
   * both are tokenized as one text with the special tokens that the tokenizer adds, and what is
   * behind as many tokens as the context alone has is the continuation; the score is the sum of its
   * log-probabilities. An empty context is one token, the text's beginning.
   */
  LM_EVAL {
    @Override
    int limit(int positions) {
      return positions;
    }

    @Override
    int[][] encode(String context, String continuation, TextTokenizer tokenizer, OptionalInt bos) {
      if (context.isEmpty()) {
        int[] own = tokenizer.encode(continuation, false);
        if (own.length > 0 && bos.isPresent() && own[0] != bos.getAsInt()) {
          return new int[][] {{bos.getAsInt()}, own};
        }
        int first = Math.min(1, own.length);
        return new int[][] {Arrays.copyOf(own, first), Arrays.copyOfRange(own, first, own.length)};
      }
      String stripped = PythonText.stripTrailing(context);
      boolean begun =
          bos.isPresent() && context.startsWith(tokenizer.decode(new int[] {bos.getAsInt()}));
      int[] whole = tokenizer.encode(context + continuation, !begun);
      int[] before = tokenizer.encode(stripped, !begun);
      int split = Math.min(before.length, whole.length);
      return new int[][] {before, Arrays.copyOfRange(whole, split, whole.length)};
    }

    @Override
    double score(double[] logProbabilities) {
      return Arrays.stream(logProbabilities).sum();
    }
  },

  /**
   * As OWL's repository scores ({@code zero_shot_benchmark}): context and continuation are brought
   * to Unicode's form NFKC and tokenized one by one without special tokens, of both the last 1024
   * tokens count, and the score is the mean of the continuation's log-probabilities. Its repair of
   * damaged encodings (ftfy) is not done: on the seven tasks' own data it has little to repair. Not
   * comparable with lm-evaluation-harness.
   */
  OWL {
    @Override
    int limit(int positions) {
      return Math.min(OWL_TOKENS, positions);
    }

    @Override
    int[][] encode(String context, String continuation, TextTokenizer tokenizer, OptionalInt bos) {
      return new int[][] {
        tokenizer.encode(Normalizer.normalize(context, Normalizer.Form.NFKC), false),
        tokenizer.encode(Normalizer.normalize(continuation, Normalizer.Form.NFKC), false)
      };
    }

    @Override
    double score(double[] logProbabilities) {
      return Arrays.stream(logProbabilities).sum() / logProbabilities.length;
    }
  };

  private static final int OWL_TOKENS = 1024;

  /** How many tokens go into a model with so many positions at most. */
  abstract int limit(int positions);

  /**
   * The tokens of context and continuation.
   *
   * @param bos the token that stands for the beginning of a text, if the model has one
   */
  abstract int[][] encode(
      String context, String continuation, TextTokenizer tokenizer, OptionalInt bos);

  /** What a continuation scores. */
  abstract double score(double[] logProbabilities);

  /**
   * A context and its continuation as a sequence, cut at its beginning to what the model can see:
   * the last token is predicted only, and needs no position.
   */
  static ScoredSequence sequence(int[] context, int[] continuation, int limit) {
    int[] all = Arrays.copyOf(context, context.length + continuation.length);
    System.arraycopy(continuation, 0, all, context.length, continuation.length);
    int kept = Math.min(all.length, limit + 1);
    return new ScoredSequence(
        Arrays.copyOfRange(all, all.length - kept, all.length), continuation.length);
  }

  /** The name that the command line uses. */
  public String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
