package ai.owl.planning;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a stage of a run will cost.
 *
 * @param name as the run's report has it
 * @param jobs one entry a kind of Spark job
 * @param seconds from its begin to its end
 * @param coreSeconds where the time of all cores goes; adds up to {@code seconds} times the cores
 * @param bytesRead from storage, by all executors
 * @param bytesWritten to storage
 * @param bytesShuffled from executor to executor
 */
public record StagePlan(
    String name,
    List<Jobs> jobs,
    double seconds,
    Map<Cost, Double> coreSeconds,
    long bytesRead,
    long bytesWritten,
    long bytesShuffled) {
  public StagePlan {
    jobs = List.copyOf(jobs);
    coreSeconds = Map.copyOf(coreSeconds);
  }

  /**
   * Spark jobs that are alike.
   *
   * @param what each of them does
   * @param count how many there are, one after the other
   * @param tasks of each
   */
  public record Jobs(String what, int count, int tasks) {}

  /** What a core's time can go to. */
  public enum Cost {
    /** The linear layers' and Gram matrices' products. */
    PRODUCTS("matrix products"),
    /** Attention, norms, activations, column norms. */
    ACTIVATIONS("attention and element-wise work"),
    /** Outlier counts, selection, decoding and encoding of weights. */
    WEIGHTS("counting, selecting, decoding weights"),
    /** SparseGPT's factorizations and sweeps; singular values. */
    SOLVING("solving"),
    /** Serializing for other executors. */
    SHUFFLING("shuffling"),
    /** Waiting for storage. */
    STORAGE("waiting for storage"),
    /** Jobs and tasks begin and end; executors warm up. */
    BARRIERS("starting jobs and tasks, warming up"),
    /** Nothing to do. */
    IDLE("idle");

    private final String words;

    Cost(String words) {
      this.words = words;
    }

    @Override
    public String toString() {
      return words;
    }
  }

  /** Number of Spark jobs. */
  public int jobCount() {
    return jobs.stream().mapToInt(Jobs::count).sum();
  }

  /** Number of tasks in all jobs together. */
  public long taskCount() {
    return jobs.stream().mapToLong(job -> (long) job.count() * job.tasks()).sum();
  }

  ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("stage", name);
    for (Jobs job : jobs) {
      json.withArray("jobs")
          .addObject()
          .put("what", job.what())
          .put("count", job.count())
          .put("tasks", job.tasks());
    }
    json.put("seconds", seconds);
    ObjectNode costs = json.putObject("coreSeconds");
    new EnumMap<>(coreSeconds)
        .forEach((cost, value) -> costs.put(cost.name().toLowerCase(Locale.ROOT), value));
    json.put("bytesRead", bytesRead);
    json.put("bytesWritten", bytesWritten);
    json.put("bytesShuffled", bytesShuffled);
    return json;
  }
}
