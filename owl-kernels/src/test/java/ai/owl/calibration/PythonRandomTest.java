package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** All numbers from CPython 3.11, each list from a fresh {@code random.seed(…)}. */
class PythonRandomTest {

  /** [random.getrandbits(32) for _ in range(5)] */
  @Test
  void drawsCPythonsBits() {
    assertThat(bits(0, 32, 5))
        .containsExactly(3626764237L, 1654615998L, 3255389356L, 3823568514L, 1806341205L);
  }

  /** [random.getrandbits(7) for _ in range(6)] with seed 42 */
  @Test
  void keepsTheHighBitsOfAWord() {
    assertThat(bits(42, 7, 6)).containsExactly(81L, 14L, 3L, 94L, 35L, 31L);
  }

  /** [random.randint(0, 356316) for _ in range(8)]: the documents of C4's first shard */
  @Test
  void drawsDocumentsLikeRandint() {
    assertThat(upTo(0, 356316, 8))
        .containsExactly(201979, 220500, 21225, 135746, 268055, 254766, 212302, 159023);
  }

  /** [random.randint(0, 9) for _ in range(10)] */
  @Test
  void drawsSmallNumbersLikeRandint() {
    assertThat(upTo(0, 9, 10)).containsExactly(6, 6, 0, 4, 8, 7, 6, 4, 7, 5);
  }

  /** [random.randint(0, 2**31 - 1) for _ in range(4)] */
  @Test
  void drawsOverTheWholeRangeOfInt() {
    assertThat(upTo(0, Integer.MAX_VALUE, 4))
        .containsExactly(1654615998, 1806341205, 173879092, 1112038970);
  }

  /**
   * [random.randint(0, 0), random.randint(0, 0), random.getrandbits(32)]: one choice still draws
   */
  @Test
  void spendsBitsOnASingleChoice() {
    PythonRandom random = new PythonRandom(5);
    assertThat(random.upTo(0)).isZero();
    assertThat(random.upTo(0)).isZero();
    assertThat(random.bits(32)).isEqualTo(3415330359L);
  }

  /** random.seed(s); random.getrandbits(32), for s = 1, -1, 2**32 - 1, 2**32, -2**63, 2**63 - 1 */
  @Test
  void seedsLikeCPython() {
    long[] seeds = {1, -1, (1L << 32) - 1, 1L << 32, Long.MIN_VALUE, Long.MAX_VALUE};
    assertThat(LongStream.of(seeds).map(seed -> new PythonRandom(seed).bits(32)).toArray())
        .containsExactly(577090037L, 577090037L, 2728839433L, 485306839L, 2377109768L, 1359979423L);
  }

  private static long[] bits(long seed, int bits, int count) {
    PythonRandom random = new PythonRandom(seed);
    return LongStream.range(0, count).map(i -> random.bits(bits)).toArray();
  }

  private static int[] upTo(long seed, int last, int count) {
    PythonRandom random = new PythonRandom(seed);
    return IntStream.range(0, count).map(i -> random.upTo(last)).toArray();
  }
}
