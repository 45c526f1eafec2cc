package ai.owl.spark.pipeline;

import ai.owl.pipeline.Progress;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
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
  private final AtomicInteger told = new AtomicInteger();
  private final Set<Integer> stages = ConcurrentHashMap.newKeySet();

  FlatJobProgress(JavaSparkContext spark, Progress progress) {
    this.spark = spark;
    this.progress = progress;
    spark.sc().addSparkListener(this);
  }

  /** Runs a job, each of whose tasks is a step of the stage at work, under a name. */
  <T> T run(String description, int tasks, Supplier<T> job) {
    spark.setLocalProperty("spark.job.description", description);
    spark.setLocalProperty(FLAT, "true");
    ExecutorBlocks.tellCluster(spark);
    told.set(0);
    try {
      T result = job.get();
      stages.clear(); // news that comes later is of no use
      while (told.get() < tasks) {
        tell();
      }
      return result;
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
      tell();
    }
  }

  private synchronized void tell() {
    told.incrementAndGet();
    progress.step("");
  }

  @Override
  public void close() {
    spark.sc().removeSparkListener(this);
  }
}
