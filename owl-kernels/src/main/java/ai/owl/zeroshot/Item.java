package ai.owl.zeroshot;

import ai.owl.checkpoint.MalformedCheckpointException;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;

/**
 * One question of a task's data, as it was published.
 *
 * @param task whose fields are looked for
 * @param location file it came from
 * @param place in that file, such as {@code line 3}
 * @param fields a JSON object
 */
record Item(String task, String location, String place, JsonNode fields) {
  private static final int MAX_SHOWN = 40;

  /** Whether the item has a field, and something in it. */
  boolean has(String path) {
    JsonNode node = find(path);
    return !node.isMissingNode() && !node.isNull();
  }

  /**
   * The value of a field.
   *
   * @param path of the field: names joined by dots
   */
  JsonNode field(String path) {
    JsonNode node = find(path);
    if (node.isMissingNode() || node.isNull()) {
      List<String> names = new ArrayList<>();
      fields.fieldNames().forEachRemaining(names::add);
      throw wrong(
          (node.isNull() ? "has nothing in field \"" : "has no field \"")
              + path
              + "\", which task "
              + task
              + " reads; its fields are "
              + names);
    }
    return node;
  }

  /** The text of a field, with numbers and truth values as Python prints them. */
  String text(String path) {
    return text(field(path), path);
  }

  /** The texts of a field that is a list. */
  List<String> texts(String path) {
    JsonNode list = field(path);
    if (!list.isArray() || list.isEmpty()) {
      throw wrong("has a field \"" + path + "\" that is not a list of texts but " + shown(list));
    }
    List<String> texts = new ArrayList<>();
    list.forEach(each -> texts.add(text(each, path)));
    return texts;
  }

  private String text(JsonNode node, String path) {
    if (node.isBoolean()) {
      return node.booleanValue() ? "True" : "False";
    }
    if (!node.isTextual() && !node.isIntegralNumber()) {
      throw wrong("has a field \"" + path + "\" that is not text but " + shown(node));
    }
    return node.asText();
  }

  /** A value as JSON, or its beginning; and which task wants another. */
  private String shown(JsonNode value) {
    String json = value.toString();
    return (json.length() > MAX_SHOWN ? json.substring(0, MAX_SHOWN) + "…" : json)
        + ", which task "
        + task
        + " cannot use";
  }

  private JsonNode find(String path) {
    JsonNode node = fields;
    for (String name : path.split("\\.")) {
      node = node.path(name);
    }
    return node;
  }

  /**
   * @param what is wrong, to follow the item's place
   */
  MalformedCheckpointException wrong(String what) {
    return new MalformedCheckpointException("Cannot read " + location + ": " + place + " " + what);
  }
}
