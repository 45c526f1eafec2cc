package ai.owl.spark.pipeline;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/** Compares what two runs wrote. */
final class Folders {
  private Folders() {}

  /**
   * The files of a checkpoint folder by relative name, as digests; but for what a run tells of
   * itself.
   */
  static Map<String, String> digests(Path folder) throws Exception {
    Map<String, String> digests = new TreeMap<>();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        String name = folder.relativize(file).toString();
        if (!name.startsWith("_owl/")) {
          digests.put(name, digest(file));
        }
      }
    }
    return digests;
  }

  private static String digest(Path file) throws Exception {
    return HexFormat.of()
        .formatHex(java.security.MessageDigest.getInstance("SHA-256").digest(read(file)));
  }

  private static byte[] read(Path file) throws IOException {
    return Files.readAllBytes(file);
  }
}
