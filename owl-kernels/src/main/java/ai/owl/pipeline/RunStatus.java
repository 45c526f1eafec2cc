package ai.owl.pipeline;

import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * How far the runs are that write, or wrote, to an output folder.
 *
 * @param output the folder
 * @param whole whether there is a checkpoint in it: its index, which is written last, and the
 *     shards that it names
 * @param holder who holds the folder's lock, in words; empty if nobody does
 * @param gone whether that process is known to be dead
 * @param silence time since the holder's last sign of life, if its clock agrees with this one's
 * @param runs those that have left something
 */
public record RunStatus(
    String output,
    boolean whole,
    Optional<String> holder,
    boolean gone,
    Optional<Duration> silence,
    List<Run> runs) {

  /**
   * A run.
   *
   * @param description its {@code run.json}
   * @param denseModel whether all is known of the dense model that the run wants to know
   * @param passes those that are under way
   * @param shards number of shards that are written
   * @param blocks number of the model's blocks; there is one shard more
   * @param finished whether all that was asked for is done, measuring the pruned model too
   */
  public record Run(
      String fingerprint,
      JsonNode description,
      boolean denseModel,
      List<Pass> passes,
      int shards,
      int blocks,
      boolean finished) {}

  /**
   * A pass of the calibration sequences through the blocks.
   *
   * @param results of how many blocks there is what the pass is made for
   * @param states the block before which hidden states are kept; 0 if none are
   */
  public record Pass(String name, int results, int states) {}

  /**
   * Looks into an output folder; changes nothing.
   *
   * @throws IllegalArgumentException if no run has left anything there, or what one was cannot be
   *     read
   */
  public static RunStatus of(Storage storage, String output) throws IOException {
    List<Run> runs = new ArrayList<>();
    for (RunFolder folder : RunFolder.in(storage, output)) {
      List<Pass> passes = new ArrayList<>();
      for (String name : folder.passes()) {
        PassRecord record = folder.pass(name, 0);
        passes.add(new Pass(name, record.count(), record.newest(Integer.MAX_VALUE)));
      }
      JsonNode description =
          folder
              .description()
              .orElseThrow(
                  () ->
                      new IllegalArgumentException(
                          "Cannot tell the status of "
                              + output
                              + ": a run has left something there, but "
                              + folder.descriptionLocation()
                              + ", its description, cannot be read; give owl prune --overwrite to"
                              + " replace it"));
      runs.add(
          new Run(
              folder.fingerprint(),
              description,
              folder.results().contains(RunFolder.DENSE_MODEL),
              passes,
              folder.shards().size(),
              description.path("blocks").asInt(),
              folder.isFinished()));
    }
    Optional<RunLock.Found> lock = RunLock.find(storage, output);
    boolean whole = OutputCheckpoint.isWhole(storage, output);
    if (runs.isEmpty() && lock.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot tell the status of "
              + output
              + ": no run of owl prune has left anything there; give the --output of one");
    }
    return new RunStatus(
        output,
        whole,
        lock.map(RunStatus::words),
        lock.flatMap(RunLock.Found::holder).filter(RunLock.Holder::isGone).isPresent(),
        lock.flatMap(RunLock.Found::holder).map(RunLock.Holder::age),
        runs);
  }

  private static String words(RunLock.Found lock) {
    return lock.holder()
        .map(RunLock.Holder::toString)
        .orElse(
            "unknown: _owl/"
                + RunLock.NAME
                + " cannot be read; if nobody writes it, the next run takes it over");
  }

  /** Whether a run has published its checkpoint and its report, and nobody is at work. */
  public boolean isDone() {
    return whole
        && holder.isEmpty()
        && runs.stream().anyMatch(run -> run.finished() && run.shards() == run.blocks() + 1);
  }

  /**
   * Whether the holder has given a sign of life within the time after which it is taken for dead.
   */
  public boolean isAtWork() {
    return !gone
        && silence.filter(age -> age.compareTo(RunLock.Timing.USUAL.lease()) < 0).isPresent();
  }

  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("output", output);
    json.put("whole", whole);
    json.put("done", isDone());
    json.put("holder", holder.orElse(null));
    json.put("holderGone", gone);
    ArrayNode entries = json.putArray("runs");
    for (Run run : runs) {
      ObjectNode entry = entries.addObject();
      entry.put("fingerprint", run.fingerprint());
      entry.set("run", run.description());
      entry.put("denseModel", run.denseModel());
      ArrayNode passes = entry.putArray("passes");
      for (Pass pass : run.passes()) {
        passes
            .addObject()
            .put("name", pass.name())
            .put("blocks", pass.results())
            .put("hiddenStatesBeforeBlock", pass.states());
      }
      entry.put("shards", run.shards());
      entry.put("shardsInAll", run.blocks() + 1);
      entry.put("finished", run.finished());
    }
    return json;
  }
}
