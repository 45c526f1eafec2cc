package ai.owl.spark.storage;

import java.util.Map;
import org.apache.hadoop.conf.Configuration;

/**
 * How long file systems try to reach somebody who does not answer. Hadoop's own settings go on for
 * ten minutes and more, which nobody who mistyped a host waits for. With these it is half a minute
 * where connections are refused, which outlasts a restart, one (HDFS) to three (S3) where packets
 * are lost, and about two where S3 asks for fewer requests. What anybody configured is left alone.
 */
final class Patience {
  private static final Map<String, String> BOUNDED =
      Map.of(
          // S3A repeats what its client library has already repeated: the outer row is enough.
          "fs.s3a.attempts.maximum", "1",
          "fs.s3a.retry.limit", "4",
          "fs.s3a.retry.interval", "1s",
          // Waits double: 20, the default, would be days. These are two minutes.
          "fs.s3a.retry.throttle.limit", "8",
          "fs.s3a.retry.throttle.interval", "250ms",
          // No shorter one is accepted.
          "fs.s3a.connection.establish.timeout", "15s",
          "ipc.client.connect.max.retries.on.timeouts", "2");

  private Patience() {}

  /** A copy of a configuration with bounds where it has none of its own. */
  static Configuration bounded(Configuration configuration) {
    Configuration bounded = new Configuration(configuration);
    BOUNDED.forEach(
        (key, value) -> {
          if (isDefault(configuration, key)) {
            bounded.set(key, value, "ai.owl.spark.storage");
          }
        });
    return bounded;
  }

  /** Whether nobody but Hadoop has set a key. */
  static boolean isDefault(Configuration configuration, String key) {
    if (configuration.get(key) == null) {
      return true;
    }
    String[] sources = configuration.getPropertySources(key);
    return sources != null
        && sources.length > 0
        && sources[sources.length - 1].endsWith("-default.xml");
  }
}
