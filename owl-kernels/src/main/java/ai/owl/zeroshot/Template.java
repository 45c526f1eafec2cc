package ai.owl.zeroshot;

import com.fasterxml.jackson.databind.node.TextNode;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A text with fields of an item in it, in the part of Jinja's notation that multiple-choice tasks
 * need: {@code {{field}}}, {@code {{field.inner}}} and {@code {{field|capitalize}}}; everything
 * else stands for itself. A text that is nothing but a field's name is that field.
 */
record Template(String text) implements Serializable {
  private static final Pattern NAME = Pattern.compile("[A-Za-z_][\\w]*(?:\\.[A-Za-z_]\\w*)*");
  private static final Pattern EXPRESSION =
      Pattern.compile("\\{\\{\\s*(" + NAME + ")\\s*(?:\\|\\s*(\\w+)\\s*)?\\}\\}");

  Template {
    String rest = EXPRESSION.matcher(text).replaceAll("");
    if (rest.contains("{{") || rest.contains("{%") || rest.contains("{#")) {
      throw new IllegalArgumentException(
          "Cannot use the template "
              + shown(text)
              + ": only {{field}}, {{field.inner}} and {{field|capitalize}} are known");
    }
    Matcher expression = EXPRESSION.matcher(text);
    while (expression.find()) {
      if (expression.group(2) != null && !expression.group(2).equals("capitalize")) {
        throw new IllegalArgumentException(
            "Cannot use the template "
                + shown(text)
                + ": the filter "
                + expression.group(2)
                + " is unknown; capitalize is known");
      }
    }
  }

  /** The text for one item. */
  String of(Item item) {
    if (NAME.matcher(text).matches() && item.has(text)) {
      return item.text(text);
    }
    StringBuilder filled = new StringBuilder();
    Matcher expression = EXPRESSION.matcher(text);
    int from = 0;
    while (expression.find()) {
      filled.append(text, from, expression.start());
      String value = item.text(expression.group(1));
      filled.append(expression.group(2) == null ? value : PythonText.capitalize(value));
      from = expression.end();
    }
    return filled.append(text.substring(from)).toString();
  }

  /** The path of the field that this is nothing but, such as {@code {{choices.text}}}. */
  static String path(String text) {
    Matcher expression = EXPRESSION.matcher(text.strip());
    if (expression.matches() && expression.group(2) == null) {
      return expression.group(1);
    }
    if (NAME.matcher(text.strip()).matches()) {
      return text.strip();
    }
    throw new IllegalArgumentException(
        "Cannot take " + shown(text) + " for a field: write its name, or {{name}}");
  }

  /** In quotes, and on one line. */
  private static String shown(String text) {
    return TextNode.valueOf(text).toString();
  }

  /** Names of the fields it is made from; for tests. */
  List<String> fields() {
    List<String> names = new ArrayList<>();
    Matcher expression = EXPRESSION.matcher(text);
    while (expression.find()) {
      names.add(expression.group(1));
    }
    return names;
  }
}
