package ai.owl.spark.report;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How a result came about, so that anyone can make it again.
 *
 * @param commandLine the exact command, one word an entry, not quoted
 * @param inputs what was read and how, such as the locations of the calibration text and the length
 *     of its windows, defaults included; strings, numbers and lists of them, in the map's own order
 * @param versions of what ran, such as owl-spark, Spark, Java and the operating system; shown in
 *     the map's own order
 */
public record Provenance(
    List<String> commandLine, Map<String, Object> inputs, Map<String, String> versions) {
  public Provenance {
    commandLine = List.copyOf(commandLine);
    inputs = Collections.unmodifiableMap(new LinkedHashMap<>(inputs));
    versions = Collections.unmodifiableMap(new LinkedHashMap<>(versions));
  }

  /** Without any word on what was read. */
  public Provenance(List<String> commandLine, Map<String, String> versions) {
    this(commandLine, Map.of(), versions);
  }

  /** As JSON: {@code command}, {@code inputs}, {@code versions}. */
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    ArrayNode words = json.putArray("command");
    commandLine.forEach(words::add);
    json.set("inputs", new JsonMapper().valueToTree(inputs));
    ObjectNode numbers = json.putObject("versions");
    versions.forEach(numbers::put);
    return json;
  }
}
