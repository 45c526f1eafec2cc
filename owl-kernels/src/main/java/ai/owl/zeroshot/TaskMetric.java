package ai.owl.zeroshot;

/** What is reported of a task's items, under the names that lm-evaluation-harness uses. */
public enum TaskMetric {
  /** The share of items whose right choice has the highest score; of equals the first counts. */
  ACC("acc"),
  /** The same with scores divided by the choices' lengths in characters. */
  ACC_NORM("acc_norm");

  private final String label;

  TaskMetric(String label) {
    this.label = label;
  }

  /** The name in tables and files. */
  public String label() {
    return label;
  }
}
