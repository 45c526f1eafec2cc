package ai.owl.spark.report;

import ai.owl.planning.BlockCosts;
import ai.owl.planning.Cluster;
import ai.owl.planning.MemoryPlan;
import ai.owl.planning.RunPlan;
import ai.owl.planning.StagePlan;
import ai.owl.planning.StagePlan.Cost;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** A plan for the reader of a terminal. */
public final class PlanTable {
  private static final double WORTH_SAYING = 0.01;

  private PlanTable() {}

  /** Stages, where the time goes, memory, and the settings that follow. */
  public static String of(RunPlan plan) {
    StringBuilder out = new StringBuilder();
    Cluster cluster = plan.cluster();
    line(
        out,
        "%-10s %5s %9s %12s %10s %10s %10s",
        "stage",
        "jobs",
        "tasks",
        "time",
        "read",
        "written",
        "shuffled");
    for (StagePlan stage : plan.stages()) {
      row(
          out,
          stage.name(),
          stage.jobCount(),
          stage.taskCount(),
          stage.seconds(),
          stage.bytesRead(),
          stage.bytesWritten(),
          stage.bytesShuffled());
    }
    row(
        out,
        "all",
        plan.stages().stream().mapToInt(StagePlan::jobCount).sum(),
        plan.stages().stream().mapToLong(StagePlan::taskCount).sum(),
        plan.seconds(),
        plan.bytesRead(),
        plan.bytesWritten(),
        plan.bytesShuffled());
    line(out, "");
    line(out, "steps:");
    for (StagePlan stage : plan.stages()) {
      for (StagePlan.Jobs jobs : stage.jobs()) {
        line(
            out,
            "  %-10s %d %s of %d %s: %s",
            stage.name(),
            jobs.count(),
            jobs.count() == 1 ? "job" : "jobs",
            jobs.tasks(),
            jobs.tasks() == 1 ? "task" : "tasks",
            jobs.what());
      }
    }
    line(out, "");
    List<String> shares = new ArrayList<>();
    plan.shares().entrySet().stream()
        .filter(share -> share.getValue() >= WORTH_SAYING)
        .sorted(Map.Entry.<Cost, Double>comparingByValue().reversed())
        .forEach(
            share ->
                shares.add(
                    String.format(
                        Locale.ROOT, "%s %.0f %%", share.getKey(), 100 * share.getValue())));
    line(
        out,
        "where the time of %d cores goes: %s",
        cluster.totalCores(),
        String.join(", ", shares));
    line(out, "bottleneck: %s", plan.bottleneck());
    line(out, "");
    memory(out, plan.memory());
    line(out, "");
    settings(out, plan);
    return out.toString();
  }

  private static void row(
      StringBuilder out,
      String name,
      int jobs,
      long tasks,
      double seconds,
      long read,
      long written,
      long shuffled) {
    line(
        out,
        "%-10s %5d %9d %12s %10s %10s %10s",
        name,
        jobs,
        tasks,
        time(seconds),
        bytes(read),
        bytes(written),
        bytes(shuffled));
  }

  private static void memory(StringBuilder out, MemoryPlan memory) {
    line(out, "memory of an executor at its peak   %10s", bytes(memory.executor()));
    part(out, "decoder blocks as float32", memory.blocks());
    part(out, "forward buffers of its tasks", memory.buffers());
    part(out, "Gram matrices of its tasks", memory.grams());
    part(out, "inputs it solves at once", memory.solving());
    part(out, "the language-model head", memory.head());
    line(
        out, "  at most at one time               %10s  outside the heap", bytes(memory.offHeap()));
    line(
        out,
        "  heap                              %10s  of it %s for hidden states",
        bytes(memory.heap()),
        bytes(memory.hiddenStates()));
    line(out, "memory of the driver                %10s", bytes(memory.driver()));
  }

  private static void part(StringBuilder out, String name, long value) {
    if (value > 0) {
      line(out, "  %-32s  %10s", name, bytes(value));
    }
  }

  private static void settings(StringBuilder out, RunPlan plan) {
    Cluster cluster = plan.cluster();
    MemoryPlan memory = plan.memory();
    line(out, "settings, after -- of submit/owl prune:");
    settings(plan).forEach((key, value) -> line(out, "  --conf %s=%s", key, value));
    line(
        out,
        "  a task's products use %d %s; OMP_NUM_THREADS=1, which submit/owl sets",
        cluster.taskCpus(),
        cluster.taskCpus() == 1 ? "thread" : "threads");
    if (cluster.executors() == 1) {
      line(out, "or embedded, in one process of %s:", bytes(memory.executor()));
      line(
          out,
          "  OWL_MEMORY=%dm%s submit/owl prune ...",
          Math.max(memory.heap(), memory.driver()) >> 20,
          cluster.taskCpus() == 1 ? "" : " OWL_JAVA_OPTS=-Dspark.task.cpus=" + cluster.taskCpus());
    }
  }

  /** What Spark has to be told for a run to go as planned. */
  public static Map<String, String> settings(RunPlan plan) {
    Cluster cluster = plan.cluster();
    MemoryPlan memory = plan.memory();
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("spark.executor.instances", Integer.toString(cluster.executors()));
    settings.put("spark.executor.cores", Integer.toString(cluster.cores()));
    settings.put("spark.task.cpus", Integer.toString(cluster.taskCpus()));
    settings.put("spark.executor.memory", (memory.heap() >> 20) + "m");
    settings.put("spark.executor.memoryOverhead", (memory.overhead() >> 20) + "m");
    settings.put("spark.driver.memory", (memory.driver() >> 20) + "m");
    return settings;
  }

  /** What the figures rest on, a line each. */
  public static List<String> assumptions(RunPlan plan, BlockCosts costs) {
    List<String> lines = new ArrayList<>();
    lines.add("rates: " + plan.rates().source());
    lines.add(
        String.format(
            Locale.ROOT,
            "a core: %.0f Gflop/s in linear layers, %.0f in pruned ones with their zeros counted,"
                + " %.0f in attention, %.1f Gvalue/s element-wise; %.2f ns a weight to count outliers,"
                + " %.2f to select and to hold what is left, %.2f to decode",
            plan.rates().linearFlops() / 1e9,
            plan.rates().prunedLinearFlops() / 1e9,
            plan.rates().attentionFlops() / 1e9,
            plan.rates().elementwiseValues() / 1e9,
            1e9 / plan.rates().profiledWeights(),
            1e9 / plan.rates().selectedWeights(),
            1e9 / plan.rates().decodedWeights()));
    lines.add(
        String.format(
            Locale.ROOT,
            "storage: an executor reads %s/s and writes %s/s, however many there are; a job costs"
                + " %.2f s, and each of its tasks the driver %.1f ms",
            bytes((long) plan.rates().readBytes()),
            bytes((long) plan.rates().writeBytes()),
            plan.rates().jobSeconds(),
            1e3 * plan.rates().taskSeconds()));
    lines.add(
        String.format(
            Locale.ROOT,
            "a block has %,d weights; a sequence of %d tokens takes %.0f Gflop through its linear"
                + " layers, %.0f through attention",
            costs.weights(),
            plan.workload().tokens(),
            costs.linearFlops(plan.workload().tokens()) / 1e9,
            costs.attentionFlops(0, plan.workload().tokens()) / 1e9));
    lines.add(
        "all executors are equally fast, none is lost, and nobody else uses their cores; the start"
            + " of Spark and the reading of text come on top");
    return lines;
  }

  private static String time(double seconds) {
    if (seconds < 120) {
      return String.format(Locale.ROOT, "%.1f s", seconds);
    }
    long minutes = Math.round(seconds / 60);
    return minutes < 120
        ? minutes + " min"
        : String.format(Locale.ROOT, "%d h %02d min", minutes / 60, minutes % 60);
  }

  /** In the largest unit that leaves a whole part. */
  public static String bytes(long bytes) {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = bytes;
    int unit = 0;
    while (value >= 1000 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return bytes == 0
        ? "-"
        : String.format(
            Locale.ROOT, value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, units[unit]);
  }

  private static void line(StringBuilder out, String format, Object... values) {
    out.append(String.format(Locale.ROOT, format, values).stripTrailing()).append('\n');
  }
}
