package ai.owl.planning;

/**
 * The machines of a run.
 *
 * @param executors number of them
 * @param cores of each
 * @param taskCpus cores that a task gets ({@code spark.task.cpus})
 */
public record Cluster(int executors, int cores, int taskCpus) {
  public Cluster {
    if (executors < 1) {
      throw new IllegalArgumentException("Cannot plan for " + executors + " executors");
    }
    if (cores < 1) {
      throw new IllegalArgumentException("Cannot plan for executors of " + cores + " cores");
    }
    if ((long) executors * cores > 1 << 20) {
      throw new IllegalArgumentException(
          "Cannot plan for " + (long) executors * cores + " cores: that is beyond any cluster");
    }
    if (taskCpus < 1 || taskCpus > cores) {
      throw new IllegalArgumentException(
          "Cannot give a task " + taskCpus + " of the " + cores + " cores of an executor");
    }
  }

  /** Tasks that run at once in an executor. */
  public int slotsPerExecutor() {
    return cores / taskCpus;
  }

  /** Tasks that run at once. */
  public int slots() {
    return executors * slotsPerExecutor();
  }

  /**
   * Threads of each task's work in a stage: as many as it has cores, and those that a stage with
   * fewer tasks than slots would leave idle, if tasks are spread evenly.
   */
  public int threads(int tasks) {
    int together = Math.max(1, (tasks + executors - 1) / executors);
    return Math.max(taskCpus, cores / together);
  }

  public int totalCores() {
    return executors * cores;
  }

  /** The same machines with tasks of so many cores. */
  public Cluster withTaskCpus(int cpus) {
    return new Cluster(executors, cores, cpus);
  }
}
