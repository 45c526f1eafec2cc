package ai.owl.planning;

import ai.owl.planning.StagePlan.Cost;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a run will do and cost.
 *
 * @param cluster it is planned for, with the cores a task gets
 * @param stages in order
 * @param bottleneck what would have to change for it to be faster, in a sentence
 */
public record RunPlan(
    Cluster cluster,
    Workload workload,
    List<StagePlan> stages,
    MemoryPlan memory,
    MachineRates rates,
    String bottleneck) {
  public RunPlan {
    stages = List.copyOf(stages);
  }

  /** From the first stage's begin to the last one's end; Spark starts before that. */
  public double seconds() {
    return stages.stream().mapToDouble(StagePlan::seconds).sum();
  }

  public long bytesRead() {
    return stages.stream().mapToLong(StagePlan::bytesRead).sum();
  }

  public long bytesWritten() {
    return stages.stream().mapToLong(StagePlan::bytesWritten).sum();
  }

  public long bytesShuffled() {
    return stages.stream().mapToLong(StagePlan::bytesShuffled).sum();
  }

  /** Where the time of all cores goes, as shares of it. */
  public Map<Cost, Double> shares() {
    Map<Cost, Double> shares = new EnumMap<>(Cost.class);
    double all = seconds() * cluster.totalCores();
    for (StagePlan stage : stages) {
      stage.coreSeconds().forEach((cost, value) -> shares.merge(cost, value / all, Double::sum));
    }
    return shares;
  }

  /** As JSON: seconds, bytes, and shares as fractions. */
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putObject("cluster")
        .put("executors", cluster.executors())
        .put("cores", cluster.cores())
        .put("taskCpus", cluster.taskCpus())
        .put("slots", cluster.slots());
    json.putObject("workload")
        .put("sequences", workload.sequences())
        .put("tokens", workload.tokens())
        .put("windows", workload.windows())
        .put("knowsDenseModel", workload.knowsDenseModel());
    json.put("seconds", seconds());
    stages.forEach(stage -> json.withArray("stages").add(stage.toJson()));
    ObjectNode shares = json.putObject("shares");
    shares().forEach((cost, share) -> shares.put(cost.name().toLowerCase(Locale.ROOT), share));
    json.put("bottleneck", bottleneck);
    json.set("memory", memory.toJson());
    json.put("bytesRead", bytesRead());
    json.put("bytesWritten", bytesWritten());
    json.put("bytesShuffled", bytesShuffled());
    json.set("rates", rates.toJson());
    return json;
  }
}
