package ai.owl.benchmark;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/**
 * What no kernel can be faster than: all cores' fused multiply-adds in registers, and their reading
 * of memory in order. In vector code where its module is there; otherwise in plain Java, which
 * reaches less than the machine can.
 */
public class MachineLimits {
  private static final int ROUNDS = 1 << 20;

  private static int onAllCores(java.util.function.IntUnaryOperator work) {
    return IntStream.range(0, Machine.cores()).parallel().map(work).sum();
  }

  /** Numbers that the compiler does not know. */
  @State(Scope.Benchmark)
  public static class Numbers {
    private float factor = 0.5f;
    private float summand = 1f;
    private float[][] values;

    @Setup
    public void prepare() {
      Machine.announce();
      values = new float[Machine.cores()][1024];
      // a ← a/2 + 1 ends at 2, whatever it began with.
      float end = Machine.hasVectors() ? VectorLimits.multiplyAdd(1000, factor, summand) : plain(0);
      int terms = Machine.hasVectors() ? VectorLimits.flops() / 2 : values[0].length;
      Expected.close("the sum of the chains", 2.0 * terms, end);
    }

    /** A loop that the compiler makes vectors of, on values in the nearest cache. */
    private float plain(int core) {
      float[] mine = values[core];
      for (int round = 0; round < ROUNDS / mine.length; round++) {
        for (int i = 0; i < mine.length; i++) {
          mine[i] = Math.fma(mine[i], factor, summand);
        }
      }
      float sum = 0;
      for (float value : mine) {
        sum += value;
      }
      return sum;
    }
  }

  @Benchmark
  public int multiplyAdd(Numbers numbers, Flops done) {
    boolean vectors = Machine.hasVectors();
    done.flops += (double) Machine.cores() * ROUNDS * (vectors ? VectorLimits.flops() : 2);
    return onAllCores(
        core ->
            (int)
                (vectors
                    ? VectorLimits.multiplyAdd(ROUNDS, numbers.factor, numbers.summand)
                    : numbers.plain(core)));
  }

  /** More memory than caches hold. */
  @State(Scope.Benchmark)
  public static class Memory {
    @Param public ModelShape shape;
    private int[][] values;

    @Setup
    public void prepare() {
      Machine.announce();
      int each = Math.toIntExact(shape.readBytes / Integer.BYTES / Machine.cores());
      values = new int[Machine.cores()][];
      onAllCores(
          core -> {
            values[core] = new int[each];
            Arrays.fill(values[core], core + 1);
            return 0;
          });
      for (int core = 0; core < values.length; core++) {
        Expected.equal("the sum of what was read", (core + 1) * each, read(core));
      }
    }

    private int read(int core) {
      int[] mine = values[core];
      if (Machine.hasVectors()) {
        return VectorLimits.sum(mine, 0, mine.length);
      }
      int sum = 0;
      for (int value : mine) {
        sum += value;
      }
      return sum;
    }
  }

  @Benchmark
  public int read(Memory memory, Bytes done) {
    done.bytes += (double) Integer.BYTES * memory.values.length * memory.values[0].length;
    return onAllCores(memory::read);
  }
}
