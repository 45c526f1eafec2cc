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

  /** Calls of a round: of one alone, the clock would say little. */
  private static final int CALLS = 10;

  /** After which the plain loops stay; a busy machine takes some seconds. */
  private static final long MOST_NANOS = 120_000_000_000L;

  private VectorCode() {}

  /**
   * Begins to exercise vector code, if this process has any.
   *
   * @param plain loops that give the same bits
   * @param vector made only where the Vector API is
   * @param exercise calls everything that is to be compiled, on a row of some hundred elements
   * @return what {@link #chosen} wants; to be kept in a static final field
   */
  public static <T> MethodHandle inPlaceOf(
      T plain, Supplier<? extends T> vector, Consumer<T> exercise) {
    MutableCallSite site = new MutableCallSite(MethodType.methodType(Object.class));
    site.setTarget(MethodHandles.constant(Object.class, plain));
    if (VectorUnit.isPresent()) {
      Thread thread =
          new Thread(() -> replace(site, plain, vector, exercise), "owl-compile-vector-code");
      thread.setDaemon(true);
      try {
        thread.start();
      } catch (OutOfMemoryError e) { // no thread is to be had
        LOG.warn("Cannot compile vector code, plain loops stay: {}", e.toString());
      }
    }
    return site.dynamicInvoker();
  }

  /**
   * The code to use now; of a handle in a static final field, the JIT takes it for a constant.
   *
   * @param choice what {@link #inPlaceOf} gave
   */
  @SuppressWarnings("unchecked") // nobody else makes such handles
  public static <T> T chosen(MethodHandle choice) {
    try {
      return (T) (Object) choice.invokeExact();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e); // a constant throws nothing
    }
  }

  private static <T> void replace(
      MutableCallSite site, T plain, Supplier<? extends T> vector, Consumer<T> exercise) {
    Consumer<T> severalTimes =
        code -> {
          for (int call = 0; call < CALLS; call++) {
            exercise.accept(code);
          }
        };
    try {
      T code = vector.get();
      if (becomesFaster(severalTimes, plain, code, MOST_NANOS)) {
        site.setTarget(MethodHandles.constant(Object.class, code));
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
