package ai.owl.spark.cli;

import ai.owl.pipeline.Progress;
import java.io.PrintStream;
import java.util.Locale;

/** A line for every step, with the time left in its stage; or, in brief, a line for every stage. */
final class ConsoleProgress implements Progress {
  private final PrintStream out;
  private final boolean brief;
  private String stage = "";
  private int steps;
  private int done;
  private long since;

  ConsoleProgress(PrintStream out) {
    this(out, false);
  }

  private ConsoleProgress(PrintStream out, boolean brief) {
    this.out = out;
    this.brief = brief;
  }

  /** For small models, whose stages take seconds. */
  static ConsoleProgress brief(PrintStream out) {
    return new ConsoleProgress(out, true);
  }

  @Override
  public synchronized void begin(String name, int count) {
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
    out.printf(
        Locale.ROOT,
        "%-9s %3d/%d  %s, %s, about %s left%n",
        stage,
        done,
        steps,
        what,
        duration(seconds),
        duration(left));
  }

  @Override
  public synchronized void warn(String message) {
    out.println("note: " + message);
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
