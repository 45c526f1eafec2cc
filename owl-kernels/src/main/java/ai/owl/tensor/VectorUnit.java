package ai.owl.tensor;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Whether this process computes with vector instructions through Java's Vector API, an incubating
 * module that a JVM has only if it was started with {@code --add-modules=jdk.incubator.vector}.
 * Decided once, and logged. Plain loops do the same where it is not, to the bit.
 */
public final class VectorUnit {
  private static final boolean PRESENT = find();

  private VectorUnit() {}

  /** Whether classes that use the Vector API may be touched. */
  public static boolean isPresent() {
    return PRESENT;
  }

  /** Of the widest vectors that the processor has, where they are present. */
  public static int bits() {
    return Width.bits();
  }

  private static boolean find() {
    Logger log = LoggerFactory.getLogger(VectorUnit.class);
    if (ModuleLayer.boot().findModule("jdk.incubator.vector").isEmpty()) {
      log.info(
          "Rows are computed by plain loops: the JVM runs without"
              + " --add-modules=jdk.incubator.vector");
      return false;
    }
    try {
      int bits = Width.bits();
      // Plain loops are as good as vectors of half of 128 bits.
      // Stored numbers are little-endian and are looked at as vectors without being swapped.
      boolean fits = bits >= 256 && ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN;
      log.info(
          fits
              ? "Rows are computed by vector code for vectors of {} bits"
              : "Rows are computed by plain loops: vectors of {} bits do not suit",
          bits);
      return fits;
    } catch (LinkageError e) { // an incubating interface may change with the JDK
      log.warn("Rows are computed by plain loops: this JDK's Vector API is another one", e);
      return false;
    }
  }

  /** Keeps the module's classes away from a JVM without it. */
  private static final class Width {
    static int bits() {
      return FloatVector.SPECIES_PREFERRED.vectorBitSize();
    }
  }
}
