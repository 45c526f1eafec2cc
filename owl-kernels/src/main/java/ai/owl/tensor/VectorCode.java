package ai.owl.tensor;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.invoke.MutableCallSite;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Vector code that takes the place of plain loops as soon as it is faster. Until the JIT has
 * compiled it, code of the Vector API is a hundred times slower than a loop: each addition of two
 * vectors is several calls and an object. The first block of a run, whose rows would be computed
 * that way, would take twice as long as every other.
 *
 * <p>A thread of its own exercises the vector code until it beats the plain loops; from then on the
 * process uses it. Where that never happens, be it that the JIT gives up on it, the plain loops
 * stay. Which of the two computes a row makes no difference to its bits.
 */
public final class VectorCode {
  private static final Logger LOG = LoggerFactory.getLogger(VectorCode.class);

  /** Rounds in a row that have to be faster: one may be so by chance. */
  private static final int FASTER = 3;

  /** After which the plain loops stay; a busy machine takes some seconds. */
  private static final long MOST_NANOS = 120_000_000_000L;

  private VectorCode() {}

  /**
   * Begins to exercise vector code, if this process has any.
   *
   * @param type of the code, an interface
   * @param plain loops that give the same bits
   * @param vector made only where the Vector API is
   * @param exercise calls everything that is to be compiled, for a millisecond or so when it is
   * @return a handle of type {@code () → type} that gives the code to use; kept in a static final
   *     field, the JIT takes what it gives for a constant
   */
  public static <T> MethodHandle inPlaceOf(
      Class<T> type, T plain, Supplier<? extends T> vector, Consumer<T> exercise) {
    MutableCallSite site = new MutableCallSite(MethodType.methodType(type));
    site.setTarget(MethodHandles.constant(type, plain));
    if (VectorUnit.isPresent()) {
      Thread thread =
          new Thread(() -> replace(site, type, plain, vector, exercise), "owl-compile-vector-code");
      thread.setDaemon(true);
      try {
        thread.start();
      } catch (OutOfMemoryError e) { // no thread is to be had
        LOG.warn("Cannot compile vector code, plain loops stay: {}", e.toString());
      }
    }
    return site.dynamicInvoker();
  }

  private static <T> void replace(
      MutableCallSite site,
      Class<T> type,
      T plain,
      Supplier<? extends T> vector,
      Consumer<T> exercise) {
    try {
      T code = vector.get();
      if (becomesFaster(exercise, plain, code, MOST_NANOS)) {
        site.setTarget(MethodHandles.constant(type, code));
        MutableCallSite.syncAll(new MutableCallSite[] {site});
      } else {
        LOG.warn(
            "The JIT makes nothing faster of {} than plain loops, which stay",
            code.getClass().getSimpleName());
      }
    } catch (RuntimeException | Error e) { // uncaught, it would end an executor
      LOG.warn("Cannot use vector code, plain loops stay: {}", e.toString());
    }
  }

  /**
   * Exercises both until the vector code has been faster several times in a row, or the time is up.
   */
  static <T> boolean becomesFaster(Consumer<T> exercise, T plain, T vector, long mostNanos) {
    long begin = System.nanoTime();
    long best = Long.MAX_VALUE; // of the plain loops, which are compiled on the way
    int faster = 0;
    while (faster < FASTER) {
      if (System.nanoTime() - begin > mostNanos) {
        return false;
      }
      best = Math.min(best, nanos(exercise, plain));
      long nanos = nanos(exercise, vector);
      faster = nanos < best ? faster + 1 : 0;
      LockSupport.parkNanos(nanos); // the JIT's threads compile, and others have the core as well
    }
    return true;
  }

  private static <T> long nanos(Consumer<T> exercise, T code) {
    long begin = System.nanoTime();
    exercise.accept(code);
    return System.nanoTime() - begin;
  }
}
