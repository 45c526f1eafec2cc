package ai.owl.pipeline;

import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** Tells a {@link Progress} of each stage and adds up how long each takes. */
public final class StageClock {
  private final Progress progress;
  private final Map<String, Double> seconds = new LinkedHashMap<>();
  private final Set<String> warned = new HashSet<>();
  private String stage;
  private long since;

  public StageClock(Progress progress) {
    this.progress = progress;
  }

  Progress progress() {
    return progress;
  }

  /** Ends the stage at work and begins another. */
  public void begin(String name, int steps) {
    end();
    stage = name;
    since = System.nanoTime();
    progress.begin(name, steps);
  }

  /** One step of the stage is done. */
  public void step(String what) {
    progress.step(what);
  }

  /** So many steps of the stage were done by an earlier run. */
  public void skip(int steps) {
    for (int i = 0; i < steps; i++) {
      progress.step("known");
    }
  }

  public void say(String message) {
    progress.say(message);
  }

  public void warn(String message) {
    progress.warn(message);
  }

  /**
   * Warns, unless it was warned of the same before.
   *
   * @param subject by which the same is known, whatever the words are
   */
  public void warnOnce(String subject, String message) {
    if (warned.add(subject)) {
      warn(message);
    }
  }

  /** Ends the stage at work. */
  public void end() {
    if (stage != null) {
      seconds.merge(stage, (System.nanoTime() - since) / 1e9, Double::sum);
      stage = null;
    }
  }

  /** Seconds by stage, in the order in which they began. */
  public Map<String, Double> seconds() {
    end();
    return Collections.unmodifiableMap(new LinkedHashMap<>(seconds));
  }
}
