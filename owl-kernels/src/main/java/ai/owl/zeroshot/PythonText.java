package ai.owl.zeroshot;

import java.util.Locale;

/** Texts as Python's {@code str} sees them, where Java's {@code String} sees them otherwise. */
final class PythonText {
  private static final int NEXT_LINE = 0x85;

  private PythonText() {}

  /** {@code str.isspace} of one character; all that are lie in the basic plane. */
  private static boolean isSpace(char c) {
    return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == NEXT_LINE;
  }

  /** {@code str.rstrip}. */
  static String stripTrailing(String text) {
    int end = text.length();
    while (end > 0 && isSpace(text.charAt(end - 1))) {
      end--;
    }
    return text.substring(0, end);
  }

  /** {@code str.lstrip}. */
  static String stripLeading(String text) {
    int start = 0;
    while (start < text.length() && isSpace(text.charAt(start))) {
      start++;
    }
    return text.substring(start);
  }

  /** {@code str.strip}. */
  static String strip(String text) {
    return stripLeading(stripTrailing(text));
  }

  /** {@code str.capitalize}: the first character in title case, all others in lower case. */
  static String capitalize(String text) {
    if (text.isEmpty()) {
      return text;
    }
    int first = text.codePointAt(0);
    int rest = Character.charCount(first);
    // In lower case as a whole, since a Σ at the end of a word depends on what is before it.
    int lower = text.substring(0, rest).toLowerCase(Locale.ROOT).length();
    return Character.toString(Character.toTitleCase(first))
        + text.toLowerCase(Locale.ROOT).substring(lower);
  }

  /** {@code len}: characters, not UTF-16 units. */
  static int length(String text) {
    return text.codePointCount(0, text.length());
  }
}
