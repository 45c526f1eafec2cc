package ai.owl.spark.cli;

import ai.owl.pipeline.Progress;
import java.io.PrintStream;
import java.util.Locale;

/**
 * Says how far a run is: a line for every step, with the time left in its stage; on a terminal, a
 * line for every stage that is written over.
 */
final class ConsoleProgress implements Progress, AutoCloseable {
  private static final String BACK_TO_START = "\r";
  private static final String CLEAR_TO_END = "\u001b[K";

  private final PrintStream out;
  private final boolean terminal;
  private final boolean brief;
  private String stage = "";
  private int steps;
  private int done;
  private long since;
  private boolean open; // whether the cursor stands behind a line that may still change

  ConsoleProgress(PrintStream out, boolean terminal, boolean brief) {
    this.out = out;
    this.terminal = terminal;
    this.brief = brief;
  }

  /** On standard error; {@code submit/owl} knows whether that is a terminal. */
  static ConsoleProgress standard() {
    return new ConsoleProgress(System.err, Boolean.getBoolean("owl.terminal"), false);
  }

  /** A line a stage, for small models, whose stages take seconds. */
  static ConsoleProgress brief() {
    return new ConsoleProgress(System.err, Boolean.getBoolean("owl.terminal"), true);
  }

  @Override
  public synchronized void begin(String name, int count) {
    settle();
    stage = name;
    steps = count;
    done = 0;
    since = System.nanoTime();
    if (brief || count <= 1) {
      out.println(name);
    }
  }

  @Override
  public synchronized void step(String what) {
    if (brief || done >= steps) {
      return; // or news of a stage that is over
    }
    done++;
    double seconds = (System.nanoTime() - since) / 1e9;
    double left = seconds / done * (steps - done);
    String line =
        String.format(
            Locale.ROOT,
            "%-9s %3d/%d  %s%s%s",
            stage,
            done,
            steps,
            what.isEmpty() ? "" : what + ", ",
            duration(seconds),
            done == steps ? "" : ", about " + duration(left) + " left");
    if (terminal) {
      out.print(BACK_TO_START + line + CLEAR_TO_END);
      out.flush();
      open = true;
    } else {
      out.println(line);
    }
  }

  @Override
  public synchronized void say(String message) {
    settle();
    out.println(message);
  }

  @Override
  public synchronized void warn(String message) {
    settle();
    out.println("note: " + message);
  }

  /** Leaves the line that may still change. */
  private void settle() {
    if (open) {
      out.println();
      open = false;
    }
  }

  @Override
  public synchronized void close() {
    settle();
  }

  private static String duration(double seconds) {
    if (seconds < 99.5) {
      return String.format(Locale.ROOT, "%.1f s", seconds);
    }
    long minutes = Math.round(seconds / 60);
    return minutes < 100
        ? minutes + " min"
        : String.format(Locale.ROOT, "%d h %02d min", minutes / 60, minutes % 60);
  }
}
