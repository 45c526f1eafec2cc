package ai.owl.zeroshot;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;
import java.util.List;

/** Where an item says which of its choices is right. */
sealed interface Answer extends Serializable {
  /**
   * The right choice, counted from 0.
   *
   * @param choices of the item, as they are shown
   */
  int of(Item item, List<String> choices);

  /** Test splits are published with answers of this kind. */
  String NO_ANSWER = "; items without an answer cannot be scored";

  /**
   * A field that holds the choice's number, as a number, its digits or a truth value, or else the
   * choice itself.
   *
   * @param paths of the field; the first that an item has counts, since some data sets are
   *     published under several names
   * @param first the number of the first choice
   */
  record Field(List<String> paths, int first) implements Answer {
    @Override
    public int of(Item item, List<String> choices) {
      String path = paths.stream().filter(item::has).findFirst().orElse(paths.get(0));
      JsonNode value = item.field(path);
      if (value.isBoolean()) {
        return inRange(value.booleanValue() ? 1 : 0, item, path, choices);
      }
      String text = item.text(path);
      if (text.matches("-?\\d{1,9}")) {
        return inRange(Integer.parseInt(text) - first, item, path, choices);
      }
      int at = choices.indexOf(text);
      if (at < 0) {
        throw item.wrong(
            "has the answer \""
                + text
                + "\" in field \""
                + path
                + "\", which is none of "
                + choices
                + (text.isEmpty() ? NO_ANSWER : ""));
      }
      return at;
    }

    private int inRange(int choice, Item item, String path, List<String> choices) {
      if (choice < 0 || choice >= choices.size()) {
        throw item.wrong(
            "has the answer "
                + item.text(path)
                + " in field \""
                + path
                + "\", outside of "
                + first
                + ".."
                + (first + choices.size() - 1)
                + NO_ANSWER);
      }
      return choice;
    }
  }

  /**
   * A field that holds the choice's number, or the choice itself, even if it is made of digits.
   *
   * @param path of the field
   */
  record Choice(String path) implements Answer {
    @Override
    public int of(Item item, List<String> choices) {
      return item.field(path).isTextual() && choices.contains(item.text(path))
          ? choices.indexOf(item.text(path))
          : new Field(List.of(path), 0).of(item, choices);
    }
  }

  /**
   * The place of a key, such as {@code B}, in a list of labels.
   *
   * @param labels path of the list
   * @param key path of the key; white space before it does not count
   */
  record Label(String labels, String key) implements Answer {
    @Override
    public int of(Item item, List<String> choices) {
      List<String> known = item.texts(labels);
      if (known.size() != choices.size()) {
        throw item.wrong(
            "has "
                + known.size()
                + " labels in field \""
                + labels
                + "\", and "
                + choices.size()
                + " choices");
      }
      String answer = PythonText.stripLeading(item.text(key));
      int at = known.indexOf(answer);
      if (at < 0) {
        throw item.wrong(
            "has the answer \""
                + answer
                + "\" in field \""
                + key
                + "\", which is none of "
                + known
                + (answer.isEmpty() ? NO_ANSWER : ""));
      }
      return at;
    }
  }
}
