package ai.owl.spark.pipeline;

import ai.owl.pipeline.Progress;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.apache.spark.Success$;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerStageSubmitted;
import org.apache.spark.scheduler.SparkListenerTaskEnd;

/** Tells of every finished task of a flat job, which would otherwise be silent to its end. */
final class FlatJobProgress extends SparkListener implements AutoCloseable {
  private static final String FLAT = "owl.flat-job";

  private final JavaSparkContext spark;
  private final Progress progress;
  private final Set<Integer> stages = ConcurrentHashMap.newKeySet();

  FlatJobProgress(JavaSparkContext spark, Progress progress) {
    this.spark = spark;
    this.progress = progress;
    spark.sc().addSparkListener(this);
  }

  /** Runs a job whose tasks are steps of the stage at work, under a name. */
  <T> T run(String description, Supplier<T> job) {
    spark.setLocalProperty("spark.job.description", description);
    spark.setLocalProperty(FLAT, "true");
    try {
      return job.get();
    } finally {
      spark.setLocalProperty(FLAT, null);
      stages.clear();
    }
  }

  @Override
  public void onStageSubmitted(SparkListenerStageSubmitted stage) {
    if (stage.properties().getProperty(FLAT) != null) {
      stages.add(stage.stageInfo().stageId());
    }
  }

  @Override
  public void onTaskEnd(SparkListenerTaskEnd task) {
    if (stages.contains(task.stageId()) && task.reason() == Success$.MODULE$) {
      progress.step("task " + task.taskInfo().index());
    }
  }

  @Override
  public void close() {
    spark.sc().removeSparkListener(this);
  }
}
