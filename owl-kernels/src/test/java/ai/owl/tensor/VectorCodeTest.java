package ai.owl.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.lang.invoke.MethodHandle;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class VectorCodeTest {
  /** Takes so long that neither the clock nor the machine's other work hides it. */
  private static void take(int milliseconds) {
    try {
      Thread.sleep(milliseconds);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void waitsUntilTheVectorCodeIsFasterSeveralTimesInARow() {
    AtomicInteger calls = new AtomicInteger();
    // Slow as long as it is not compiled, but for once.
    Runnable vector = () -> take(calls.incrementAndGet() == 3 || calls.get() > 10 ? 0 : 60);
    assertThat(VectorCode.becomesFaster(Runnable::run, () -> take(20), vector, 60_000_000_000L))
        .isTrue();
    assertThat(calls.get()).isBetween(13, 20);
  }

  @Test
  void leavesPlainLoopsWhereVectorCodeStaysSlow() {
    assertThat(VectorCode.becomesFaster(Runnable::run, () -> {}, () -> take(5), 200_000_000L))
        .isFalse();
  }

  @Test
  void takesThePlainLoopsPlaceInTheHandle() {
    assumeThat(VectorUnit.isPresent()).isTrue();
    Runnable plain = () -> take(20);
    Runnable vector = () -> {};
    AtomicInteger exercised = new AtomicInteger();
    MethodHandle chosen =
        VectorCode.inPlaceOf(
            plain,
            () -> vector,
            code -> {
              exercised.incrementAndGet();
              code.run();
            });
    Runnable first = VectorCode.chosen(chosen);
    assertThat(first).isIn(plain, vector);
    Runnable now = first;
    for (int wait = 0; wait < 600 && now != vector; wait++) {
      take(50);
      now = VectorCode.chosen(chosen);
    }
    assertThat(now).isSameAs(vector);
    assertThat(exercised.get()).isGreaterThanOrEqualTo(6);
  }

  /** What the process itself uses, the JIT willing, as long as this takes. */
  @Test
  void decodesTheSameBeforeAndAfter() {
    byte[] halves = {0, 60, 0, (byte) 192, 1, 0}; // 1, -2, the smallest subnormal
    float[] floats = new float[3];
    for (int call = 0; call < 1000; call++) {
      DType.F16.widen(halves, 0, floats, 3);
      assertThat(floats).containsExactly(1f, -2f, 0x1p-24f);
    }
  }
}
