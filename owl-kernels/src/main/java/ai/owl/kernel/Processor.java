package ai.owl.kernel;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What the operating system says of this machine's processor. */
public final class Processor {
  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");

  /** Linux's names of instruction sets and the usual ones, the widest first. */
  private static final Map<String, String> INSTRUCTIONS = new LinkedHashMap<>();

  static {
    INSTRUCTIONS.put("amx_tile", "AMX");
    INSTRUCTIONS.put("avx512_fp16", "AVX512-FP16");
    INSTRUCTIONS.put("avx512_bf16", "AVX512-BF16");
    INSTRUCTIONS.put("avx512f", "AVX512");
    INSTRUCTIONS.put("avx2", "AVX2");
    INSTRUCTIONS.put("avx", "AVX");
    INSTRUCTIONS.put("sve2", "SVE2");
    INSTRUCTIONS.put("sve", "SVE");
  }

  private static final List<String> LINES = read();

  private Processor() {}

  /** Lines "name : value", as Linux describes it; empty if it does not. */
  public static List<String> lines() {
    return LINES;
  }

  /** The value in the first line with a name; empty if there is none. */
  public static String value(List<String> lines, String name) {
    for (String line : lines) {
      int colon = line.indexOf(':');
      if (colon >= 0 && line.substring(0, colon).strip().equals(name)) {
        return line.substring(colon + 1).strip();
      }
    }
    return "";
  }

  /**
   * The widest vector instructions: by these OpenBLAS chooses its kernels, and so the bits of its
   * products. The architecture where nothing is known of them.
   */
  public static String instructions() {
    return instructions(LINES);
  }

  static String instructions(List<String> lines) {
    Set<String> flags =
        Set.copyOf(List.of((value(lines, "flags") + " " + value(lines, "Features")).split(" +")));
    for (Map.Entry<String, String> set : INSTRUCTIONS.entrySet()) {
      if (flags.contains(set.getKey())) {
        return set.getValue();
      }
    }
    return System.getProperty("os.arch");
  }

  private static List<String> read() {
    try {
      return Files.exists(CPU_INFO) ? Files.readAllLines(CPU_INFO) : List.of();
    } catch (IOException e) {
      Logger log = LoggerFactory.getLogger(Processor.class);
      log.warn("Cannot tell the processor, pruned products are those of any: {}", e.toString());
      return List.of();
    }
  }
}
