package ai.owl.spark.ml;

import ai.owl.pipeline.Progress;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tells Spark's log how far a run is, since a notebook has no console of ours. */
final class LoggedProgress implements Progress {
  private static final Logger LOG = LoggerFactory.getLogger(LoggedProgress.class);

  private String stage = "";

  @Override
  public void begin(String name, int steps) {
    stage = name;
    LOG.info("{}: {} steps", name, steps);
  }

  @Override
  public void step(String what) {
    LOG.info("{}: {} is done", stage, what);
  }

  @Override
  public void say(String message) {
    LOG.info("{}", message);
  }

  @Override
  public void warn(String message) {
    LOG.warn("{}", message);
  }
}
