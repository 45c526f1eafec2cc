package ai.owl.zeroshot;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
import java.util.List;

/**
 * How well a model does at some tasks.
 *
 * @param scoring how choices were scored: results of different scorings do not compare
 * @param tasks in the order asked for
 */
public record ZeroShotResults(Scoring scoring, List<TaskResult> tasks) implements Serializable {
  /** The plain mean of the tasks' {@code acc}, which the pruning papers report. */
  public double mean() {
    return tasks.stream()
        .mapToDouble(task -> task.estimate(TaskMetric.ACC).orElseThrow().value())
        .average()
        .orElseThrow();
  }

  /** All of it as JSON; shares are fractions. */
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("scoring", scoring.label());
    json.put("fewShot", 0);
    ObjectNode entries = json.putObject("tasks");
    for (TaskResult task : tasks) {
      ObjectNode entry = entries.putObject(task.task());
      entry.put("items", task.items());
      for (TaskResult.Estimate estimate : task.estimates()) {
        entry.put(estimate.metric().label(), estimate.value());
        String error = estimate.metric().label() + "_stderr";
        if (Double.isFinite(estimate.standardError())) {
          entry.put(error, estimate.standardError());
        } else {
          entry.putNull(error);
        }
      }
    }
    json.putObject("mean").put(TaskMetric.ACC.label(), mean());
    return json;
  }
}
