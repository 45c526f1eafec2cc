package ai.owl.pipeline;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.UnfinishedFile;
import ai.owl.model.ModelLayout;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Where a run keeps what it needs to be gone on with, {@code <output>/_owl/<fingerprint>}:
 *
 * <ul>
 *   <li>{@code run.json}: what it is;
 *   <li>{@code shards/}: a {@link FinishedShard} for each shard that is written;
 *   <li>{@code results/}: {@link KeptResults}, such as the statistics of the dense model;
 *   <li>{@code parts/}: pruned linear layers whose block is not whole yet;
 *   <li>{@code passes/}: statistics and hidden states of passes that are under way;
 *   <li>{@code finished}: that all that was asked for is done, the report too.
 * </ul>
 *
 * <p>Parts and passes are large, and gone once the checkpoint is published.
 *
 * @param output the folder that the checkpoint is written to
 * @param fingerprint {@link PruneRun#fingerprint}
 * @param progress is told of what is kept and cannot be used
 */
public record RunFolder(Storage storage, String output, String fingerprint, Progress progress) {
  /** Among the results: what the run wants to know of the dense model. */
  public static final String DENSE_MODEL = "dense-model";

  private static final String DESCRIPTION = "run.json";
  private static final String FINISHED = "finished";
  private static final String STAMPS = "weightsFiles";
  private static final String SHARDS = "shards";
  private static final String RESULTS = "results";
  private static final String PARTS = "parts";
  private static final String PASSES = "passes";
  private static final Set<String> OWN = Set.of(SHARDS, RESULTS, PARTS, PASSES);
  private static final Pattern FINGERPRINT = Pattern.compile("[0-9a-f]{4,64}");
  private static final int LARGEST = 1 << 20;

  /** The runs that have left something in an output folder. */
  static List<RunFolder> in(Storage storage, String output) throws IOException {
    List<RunFolder> runs = new ArrayList<>();
    for (String name : storage.list(OutputCheckpoint.workFolder(output))) {
      RunFolder run = new RunFolder(storage, output, name, Progress.NONE);
      if (FINGERPRINT.matcher(name).matches() && run.exists()) {
        runs.add(run);
      }
    }
    return runs;
  }

  /**
   * Whether something among an output's notes is what a run has left that was killed before it
   * could say what it is, or while it was deleted.
   */
  static boolean isLeftover(Storage storage, String output, String name) throws IOException {
    RunFolder run = new RunFolder(storage, output, name, Progress.NONE);
    return FINGERPRINT.matcher(name).matches()
        && storage.isFolder(run.location())
        && !run.exists()
        && storage.list(run.location()).stream()
            .allMatch(entry -> OWN.contains(entry) || UnfinishedFile.is(entry));
  }

  String location() {
    return Storage.resolve(OutputCheckpoint.workFolder(output), fingerprint);
  }

  private String at(String name) {
    return Storage.resolve(location(), name);
  }

  boolean exists() throws IOException {
    return storage.exists(at(DESCRIPTION));
  }

  /**
   * Says what the run is, for those who find the folder.
   *
   * @param stamps of the model's files: {@link Storage#stamp}
   */
  void describe(PruneOptions options, ModelLayout model, String stamps) throws IOException {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("fingerprint", fingerprint);
    json.put("model", options.model());
    json.put(STAMPS, stamps);
    json.set("options", options.toJson());
    json.put("architecture", model.config().architecture().className());
    json.put("blocks", model.blocks().size());
    storage.writeAll(
        at(DESCRIPTION), (json.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
  }

  /** What the run is, as {@link #describe} said it; empty if that cannot be read. */
  Optional<JsonNode> description() throws IOException {
    if (storage.isFolder(at(DESCRIPTION))) {
      return Optional.empty();
    }
    try {
      JsonNode json = new JsonMapper().readTree(storage.readAll(at(DESCRIPTION), LARGEST));
      return json.path("options").isObject() && json.path("blocks").canConvertToInt()
          ? Optional.of(json)
          : Optional.empty();
    } catch (JsonProcessingException | MalformedCheckpointException damaged) {
      return Optional.empty();
    }
  }

  String descriptionLocation() {
    return at(DESCRIPTION);
  }

  /** Whether these options may be the run's: its model and tokens are another matter. */
  boolean isOf(PruneOptions options) throws IOException {
    return description()
        .filter(json -> comparable(options).equals(json.path("options")))
        .isPresent();
  }

  /**
   * Whether the model's files are as the run found them. The fingerprint has only samples of them.
   */
  boolean isOf(String stamps) throws IOException {
    return description().filter(json -> json.path(STAMPS).asText().equals(stamps)).isPresent();
  }

  /** As it reads from a file: a float is a double there. */
  private static JsonNode comparable(PruneOptions options) {
    try {
      return new JsonMapper().readTree(options.toJson().toString());
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /** What these options do not have in common with the run's, whose description can be read. */
  String difference(PruneOptions options) throws IOException {
    JsonNode theirs = description().orElseThrow().path("options");
    JsonNode ours = comparable(options);
    List<String> differences = new ArrayList<>();
    for (Iterator<Map.Entry<String, JsonNode>> fields = ours.fields(); fields.hasNext(); ) {
      Map.Entry<String, JsonNode> field = fields.next();
      JsonNode other = theirs.path(field.getKey());
      if (!field.getValue().equals(other)) {
        differences.add(
            field.getKey()
                + " "
                + (other.isMissingNode() ? "none" : other.asText())
                + ", not "
                + field.getValue().asText());
      }
    }
    theirs
        .fieldNames()
        .forEachRemaining(
            name -> {
              if (!ours.has(name)) {
                differences.add(name + " " + theirs.path(name).asText() + ", not none");
              }
            });
    return String.join("; ", differences);
  }

  /** Where the record of a finished shard lies. */
  String record(String shard) {
    return at(SHARDS + "/" + shard + ".json");
  }

  /** Where a pruned linear layer lies until its block is whole. */
  String part(String linear) {
    return at(PARTS + "/" + linear + ".safetensors");
  }

  /** What was found out. */
  public KeptResults results() {
    return new KeptResults(storage, at(RESULTS), progress);
  }

  /**
   * What a pass leaves, to be gone on with.
   *
   * @param interval hidden states are kept every so many blocks; never if it is 0
   */
  public PassRecord pass(String name, int interval) {
    return PassRecord.in(storage, at(PASSES + "/" + name), interval, progress);
  }

  /** Names of the passes that are under way. */
  List<String> passes() throws IOException {
    return storage.list(at(PASSES));
  }

  /** Names of the records of finished shards. */
  List<String> shards() throws IOException {
    return storage.list(at(SHARDS));
  }

  /** Whether there is more than the description. */
  boolean isWorthKeeping() throws IOException {
    return storage.list(location()).stream().anyMatch(name -> !name.equals(DESCRIPTION));
  }

  /** Says that something is still to be done. */
  void begin() throws IOException {
    storage.delete(at(FINISHED));
  }

  /** Says that nothing is left to be done. */
  void finish() throws IOException {
    storage.writeAll(at(FINISHED), new byte[0]);
  }

  /** Whether all is done that was asked for. */
  boolean isFinished() throws IOException {
    return storage.exists(at(FINISHED));
  }

  /** Removes what nobody needs once the checkpoint is published. */
  void deleteWork() throws IOException {
    storage.delete(at(PARTS));
    storage.delete(at(PASSES));
  }

  void delete() throws IOException {
    storage.delete(location());
  }
}
