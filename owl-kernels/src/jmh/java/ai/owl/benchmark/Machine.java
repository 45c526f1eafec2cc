package ai.owl.benchmark;

import ai.owl.kernel.Blas;
import ai.owl.kernel.Compute;
import ai.owl.kernel.Processor;
import com.sun.jna.Function;
import com.sun.jna.Library;
import com.sun.jna.NativeLibrary;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas;

/** What the benchmarks run on: processor, instructions, and which implementation of the kernels. */
final class Machine {
  /** The instruction sets that kernels are written for, as Linux names them. */
  private static final List<String> INSTRUCTIONS =
      List.of(
          "avx2",
          "fma",
          "avx512f",
          "avx512_bf16",
          "avx512_fp16",
          "amx_bf16",
          "amx_tile",
          "asimd",
          "sve",
          "bf16");

  private Machine() {}

  /** Cores that this process may use; {@code taskset} takes some away. */
  static int cores() {
    return Runtime.getRuntime().availableProcessors();
  }

  /** Says, in the process that is measured, what it runs. */
  static void announce() {
    System.out.println();
    implementation().forEach(line -> System.out.println("# " + line));
  }

  /** Processor, cores, instructions, Java. */
  static List<String> description() {
    return List.of(
        "processor: " + cpuInfo("model name", System.getProperty("os.arch")),
        "cores: " + cores() + ", with " + instructions(),
        "Java: "
            + System.getProperty("java.vm.name")
            + " "
            + System.getProperty("java.vm.version"));
  }

  /** Which libraries the kernels ran on, in the process that asks. */
  static List<String> implementation() {
    return List.of(
        "products: " + Compute.FLOAT32.implementation() + ", " + Blas.threads() + " threads",
        "of bfloat16: " + Compute.BFLOAT16.implementation(),
        "OpenBLAS: " + blas(),
        "vectors: "
            + (hasVectors() ? VectorLimits.species() : "module jdk.incubator.vector is not there"));
  }

  static boolean hasVectors() {
    return ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
  }

  /** What dlopen takes for: symbols of this library are for who asks it, and for nobody else. */
  private static final int LAZY_AND_LOCAL = 1;

  /**
   * OpenBLAS's version and the processor it took this one for, from the library itself, which
   * JavaCPP has loaded but does not ask. Of the two that it brings along this has to be the one
   * that is in use: the other would start threads, and take over functions that were not called
   * before.
   */
  private static String blas() {
    try {
      File folder = new File(Loader.load(openblas.class)).getParentFile();
      String maps = Files.readString(Path.of("/proc/self/maps"));
      String file =
          Stream.of("libopenblas_nolapack.so.0", "libopenblas.so.0")
              .map(name -> new File(folder, name).getPath())
              .filter(maps::contains)
              .findFirst()
              .orElseThrow();
      NativeLibrary library =
          NativeLibrary.getInstance(file, Map.of(Library.OPTION_OPEN_FLAGS, LAZY_AND_LOCAL));
      Function core = library.getFunction("openblas_get_corename");
      Function config = library.getFunction("openblas_get_config");
      return config.invokeString(new Object[0], false)
          + ", kernels for "
          + core.invokeString(new Object[0], false);
    } catch (IOException | RuntimeException | UnsatisfiedLinkError e) {
      return "of an unknown version";
    }
  }

  private static String instructions() {
    Set<String> flags = Set.of(cpuInfo("flags", cpuInfo("Features", "")).split(" "));
    String known = INSTRUCTIONS.stream().filter(flags::contains).collect(Collectors.joining(" "));
    return known.isEmpty() ? "unknown instructions" : known;
  }

  private static String cpuInfo(String key, String otherwise) {
    String value = Processor.value(Processor.lines(), key);
    return value.isEmpty() ? otherwise : value;
  }
}
