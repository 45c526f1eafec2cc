package ai.owl.calibration;

/**
 * Halves of UTF-16 surrogate pairs that stand alone, as JSON escapes can make them. They have no
 * UTF-8, and one of them spoils the whole string on its way into the native tokenizer.
 */
final class Surrogates {
  private Surrogates() {}

  /** The text with U+FFFD, the replacement character, in place of every lone half. */
  static String replaceLone(String text) {
    int first = firstLone(text, 0);
    if (first < 0) {
      return text;
    }
    StringBuilder repaired = new StringBuilder(text);
    for (int at = first; at >= 0; at = firstLone(text, at + 1)) {
      repaired.setCharAt(at, '\ufffd');
    }
    return repaired.toString();
  }

  private static int firstLone(String text, int from) {
    for (int i = from; i < text.length(); i++) {
      char c = text.charAt(i);
      if (!Character.isSurrogate(c)) {
        continue;
      }
      boolean paired =
          Character.isHighSurrogate(c)
              && i + 1 < text.length()
              && Character.isLowSurrogate(text.charAt(i + 1));
      if (!paired) {
        return i;
      }
      i++;
    }
    return -1;
  }
}
