package ai.owl.pipeline;

import java.util.List;

/**
 * Keeps what a run tells a user in words.
 *
 * @param said gets what went as it should
 * @param warned gets warnings; may be the same list
 */
public record Told(List<String> said, List<String> warned) implements Progress {
  @Override
  public void begin(String stage, int steps) {}

  @Override
  public void step(String what) {}

  @Override
  public void say(String message) {
    said.add(message);
  }

  @Override
  public void warn(String message) {
    warned.add(message);
  }
}
