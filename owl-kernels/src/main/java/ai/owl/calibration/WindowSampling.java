package ai.owl.calibration;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** How calibration sequences of equal length are taken from documents of any length. */
public enum WindowSampling {
  /**
   * As the code of SparseGPT, Wanda and OWL draws them ({@code get_c4} in {@code lib/data.py}): a
   * document drawn uniformly, again until it has more than {@code length} tokens, then a window of
   * it drawn uniformly; the windows that end at a document's last token are never drawn. Documents
   * and offsets are drawn from one stream of CPython's {@code random}, so that a seed gives the
   * papers' samples. A document may be drawn more than once.
   */
  PUBLISHED {
    @Override
    TokenSequences windows(
        TextDocuments documents, TextTokenizer tokenizer, int sequences, int length, long seed) {
      PythonRandom random = new PythonRandom(seed);
      LongDocuments candidates = new LongDocuments(documents, tokenizer, sequences, length);
      List<int[]> windows = new ArrayList<>();
      while (windows.size() < sequences) {
        int[] ids = candidates.tokens(random.upTo(documents.count() - 1));
        if (ids != null) {
          int offset = random.upTo(ids.length - length - 1);
          windows.add(Arrays.copyOfRange(ids, offset, offset + length));
        }
      }
      return TokenSequences.of(windows);
    }
  },

  /**
   * The documents tokenized one by one, each with the special tokens its tokenizer adds, and joined
   * into one stream; consecutive windows of it from its beginning. Nothing is drawn: the seed has
   * no effect.
   */
  PACKED {
    @Override
    TokenSequences windows(
        TextDocuments documents, TextTokenizer tokenizer, int sequences, int length, long seed) {
      List<int[]> windows = new ArrayList<>();
      int[] window = new int[length];
      int filled = 0;
      long tokens = 0;
      for (int i = 0; i < documents.count() && windows.size() < sequences; i++) {
        int[] ids = tokenizer.encode(documents.text(i));
        tokens += ids.length;
        for (int from = 0; from < ids.length && windows.size() < sequences; ) {
          int count = Math.min(length - filled, ids.length - from);
          System.arraycopy(ids, from, window, filled, count);
          from += count;
          filled += count;
          if (filled == length) {
            windows.add(window);
            window = new int[length];
            filled = 0;
          }
        }
      }
      if (windows.isEmpty()) {
        throw new IllegalArgumentException(
            "Cannot cut a window of "
                + length
                + " tokens from "
                + documents.source()
                + ": it holds only "
                + tokens
                + " tokens; use a shorter --length or more text");
      }
      if (windows.size() < sequences) {
        throw new IllegalArgumentException(
            "Cannot cut "
                + sequences
                + " windows of "
                + length
                + " tokens from "
                + documents.source()
                + ": its "
                + tokens
                + " tokens make only "
                + windows.size()
                + "; use --sequences "
                + windows.size()
                + ", a shorter --length or more text");
      }
      return TokenSequences.of(windows);
    }
  };

  /**
   * Takes {@code sequences} windows of {@code length} tokens.
   *
   * @param seed of the random numbers, where there are any
   * @throws IllegalArgumentException if the documents are too short or too few for that
   */
  public TokenSequences sample(
      TextDocuments documents, TextTokenizer tokenizer, int sequences, int length, long seed) {
    if (sequences < 1 || length < 1) {
      throw new IllegalArgumentException(
          "Cannot sample "
              + sequences
              + " windows of "
              + length
              + " tokens: --sequences and --length are at least 1");
    }
    return windows(documents, tokenizer, sequences, length, seed);
  }

  abstract TokenSequences windows(
      TextDocuments documents, TextTokenizer tokenizer, int sequences, int length, long seed);

  /**
   * The tokens of those documents that are long enough to be drawn from. Of every document that was
   * looked at the number of tokens is remembered, of the last long ones the tokens too; so a second
   * draw costs nothing in the usual case, and drawing ends even if no document is long enough.
   */
  private static final class LongDocuments {
    private static final long KEPT_TOKENS = 1 << 24;
    private static final int PATIENCE = 1000; // draws in vain before all documents are looked at

    private final TextDocuments documents;
    private final TextTokenizer tokenizer;
    private final int sequences;
    private final int length;
    private final int[] counts; // tokens of each document, -1 while unknown
    private final Map<Integer, int[]> kept = new LinkedHashMap<>(16, 0.75f, true);
    private long keptTokens;
    private int longest;
    private int inVain;

    LongDocuments(TextDocuments documents, TextTokenizer tokenizer, int sequences, int length) {
      this.documents = documents;
      this.tokenizer = tokenizer;
      this.sequences = sequences;
      this.length = length;
      this.counts = new int[documents.count()];
      Arrays.fill(counts, -1);
    }

    /** The tokens of document {@code i}, or null if it is too short. */
    int[] tokens(int i) {
      if (counts[i] >= 0 && counts[i] <= length) {
        return inVain();
      }
      int[] ids = kept.get(i);
      if (ids == null) {
        ids = tokenize(i);
        if (ids.length <= length) {
          return inVain();
        }
        keep(i, ids);
      }
      return ids;
    }

    private int[] inVain() {
      inVain++;
      if (longest <= length && inVain >= Math.min(PATIENCE, documents.count())) {
        requireLongDocument();
      }
      return null;
    }

    private int[] tokenize(int i) {
      int[] ids = tokenizer.encode(documents.text(i));
      counts[i] = ids.length;
      longest = Math.max(longest, ids.length);
      return ids;
    }

    private void keep(int i, int[] ids) {
      kept.put(i, ids);
      keptTokens += ids.length;
      Iterator<int[]> oldest = kept.values().iterator();
      while (keptTokens > KEPT_TOKENS && kept.size() > 1) {
        keptTokens -= oldest.next().length;
        oldest.remove();
      }
    }

    /** Looks at all documents, largest first, until one is long enough to be drawn at last. */
    private void requireLongDocument() {
      long[] bySize = new long[documents.count()];
      for (int i = 0; i < bySize.length; i++) {
        bySize[i] = documents.bytes(i) << 31 | i;
      }
      Arrays.sort(bySize);
      for (int at = bySize.length - 1; at >= 0 && longest <= length; at--) {
        int i = (int) (bySize[at] & Integer.MAX_VALUE);
        // A byte of text makes one token at most, special tokens aside. Normalization may add to
        // that, but never three more on average: what is smaller needs no look.
        if (4 * documents.bytes(i) + 64 <= length) {
          break;
        }
        if (counts[i] < 0) {
          tokenize(i);
        }
      }
      if (longest <= length) {
        throw new IllegalArgumentException(
            "Cannot draw "
                + sequences
                + " windows of "
                + length
                + " tokens from "
                + documents.source()
                + ": the longest document seen has "
                + longest
                + " tokens, and it takes more than a window; use --sampling packed, or a shorter"
                + " --length");
      }
    }
  }
}
