package ai.owl.checkpoint;

import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The name of a file while it is written, beside the one that it becomes: {@code
 * .<name>.<uuid>.part}. A process that is killed leaves one behind.
 */
public final class UnfinishedFile {
  private static final Pattern NAME =
      Pattern.compile("\\.(.+)\\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.part");

  private UnfinishedFile() {}

  /** A name that no other writer of the same file has. */
  public static String nameFor(String target) {
    return "." + target + "." + UUID.randomUUID() + ".part";
  }

  /** Whether a file of this name is not whole. */
  public static boolean is(String name) {
    return NAME.matcher(name).matches();
  }

  /** Whether a file of this name was to become one that {@code targets} matches. */
  public static boolean is(String name, Pattern targets) {
    Matcher matcher = NAME.matcher(name);
    return matcher.matches() && targets.matcher(matcher.group(1)).matches();
  }
}
