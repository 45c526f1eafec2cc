package ai.owl.spark.report;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Locale;
import java.util.Set;

/**
 * A writer of HTML with SVG inside that is well-formed XML as well. Whatever is text or an
 * attribute is escaped here and nowhere else. Mutable.
 */
final class Markup {
  /** Elements of running text: no line ends after them. */
  private static final Set<String> INLINE =
      Set.of("a", "abbr", "bdi", "code", "em", "small", "span", "strong", "tspan");

  private final StringBuilder text = new StringBuilder();
  private final Deque<String> open = new ArrayDeque<>();

  /**
   * Begins an element.
   *
   * @param attributes names and values in turn
   */
  Markup open(String tag, String... attributes) {
    start(tag, attributes);
    text.append('>');
    open.push(tag);
    return this;
  }

  /** Ends the element begun last. */
  Markup close() {
    String tag = open.pop();
    text.append("</").append(tag).append('>');
    endLine(tag);
    return this;
  }

  /** An element without content: a void one of HTML, or any of SVG. */
  Markup empty(String tag, String... attributes) {
    start(tag, attributes);
    text.append("/>");
    endLine(tag);
    return this;
  }

  /** An element with nothing but text in it. */
  Markup leaf(String tag, String content, String... attributes) {
    return open(tag, attributes).text(content).close();
  }

  Markup text(String content) {
    escape(content);
    return this;
  }

  /** Content that is neither markup nor escaped: of {@code style} and {@code script}. */
  Markup verbatim(String content) {
    if (content.indexOf('<') >= 0 || content.indexOf('&') >= 0) {
      throw new IllegalArgumentException("verbatim content must not hold markup: " + content);
    }
    text.append(content);
    return this;
  }

  /** The whole document. */
  String document() {
    if (!open.isEmpty()) {
      throw new IllegalStateException("still open: " + open);
    }
    return "<!DOCTYPE html>\n" + text;
  }

  /**
   * A coordinate, to a hundredth of a pixel.
   *
   * @throws IllegalArgumentException if it is not finite
   */
  static String px(double value) {
    if (!Double.isFinite(value)) {
      throw new IllegalArgumentException("not a coordinate: " + value);
    }
    String digits = String.format(Locale.ROOT, "%.2f", value);
    int end = digits.length();
    while (digits.charAt(end - 1) == '0') {
      end--;
    }
    if (digits.charAt(end - 1) == '.') {
      end--;
    }
    digits = digits.substring(0, end);
    return digits.equals("-0") ? "0" : digits;
  }

  private void start(String tag, String... attributes) {
    text.append('<').append(tag);
    for (int i = 0; i < attributes.length; i += 2) {
      text.append(' ').append(attributes[i]).append("=\"");
      escape(attributes[i + 1]);
      text.append('"');
    }
  }

  private void endLine(String tag) {
    if (!INLINE.contains(tag)) {
      text.append('\n');
    }
  }

  private void escape(String content) {
    content
        .codePoints()
        .forEach(
            c -> {
              switch (c) {
                case '<' -> text.append("&lt;");
                case '>' -> text.append("&gt;");
                case '&' -> text.append("&amp;");
                case '"' -> text.append("&quot;");
                case '\'' -> text.append("&#39;");
                default -> text.appendCodePoint(allowed(c) ? c : 0xfffd);
              }
            });
  }

  /** Whether both HTML and XML let the character be written. */
  private static boolean allowed(int c) {
    return c == '\t'
        || c == '\n'
        || c >= 0x20 && c < 0x7f
        || c >= 0xa0 && c < 0xd800
        || c >= 0xe000 && c < 0xfdd0
        || c > 0xfdef && (c & 0xfffe) != 0xfffe;
  }
}
