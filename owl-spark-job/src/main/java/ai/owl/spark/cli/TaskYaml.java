package ai.owl.spark.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.MarkedYAMLException;
import org.yaml.snakeyaml.error.YAMLException;

/** The YAML of task files: maps, lists, texts and numbers, and nothing that runs or multiplies. */
final class TaskYaml {
  private TaskYaml() {}

  /**
   * What a file says.
   *
   * @param file it is from, for messages
   * @throws IllegalArgumentException if it is no YAML, or uses more of it than a task needs
   */
  static JsonNode parse(String file, byte[] content) {
    LoaderOptions options = new LoaderOptions();
    options.setAllowDuplicateKeys(false); // which YAML forbids: the last would silently win
    // A list may not stand in several places: 25 lines of two aliases each hold 33 million items,
    // and a list may hold itself.
    options.setMaxAliasesForCollections(0);
    try {
      // Says of bytes that are no UTF-8 that they are not.
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content)).toString();
      // The safe constructor makes nothing but maps, lists, texts and numbers.
      return new JsonMapper().valueToTree(new Yaml(new SafeConstructor(options)).load(text));
    } catch (CharacterCodingException e) {
      throw wrong(file, "it is not UTF-8", e);
    } catch (MarkedYAMLException e) {
      String line =
          e.getProblemMark() == null ? "" : "line " + (e.getProblemMark().getLine() + 1) + ": ";
      throw wrong(file, "it is not plain YAML: " + line + firstLine(e.getProblem()), e);
    } catch (YAMLException e) {
      String problem = firstLine(e.getMessage());
      throw wrong(
          file,
          problem.startsWith("Number of aliases")
              ? "it refers to a list or map by an alias (*name); write it out"
              : "it is not plain YAML: " + problem,
          e);
    } catch (IllegalArgumentException e) {
      throw wrong(file, "it has a key that is no text", e);
    }
  }

  private static String firstLine(String message) {
    return String.valueOf(message).lines().findFirst().orElse("");
  }

  private static IllegalArgumentException wrong(String file, String what, Exception cause) {
    return new IllegalArgumentException("Cannot use " + file + " as a task: " + what, cause);
  }
}
