package ai.owl.benchmark;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Loops that a machine runs as fast as it can, in vector code. Not to be touched where its module
 * is not there.
 */
final class VectorLimits {
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;

  private VectorLimits() {}

  static String species() {
    return FLOATS.toString();
  }

  /** Floating-point operations of one round of {@link #multiplyAdd}. */
  static int flops() {
    return 12 * 2 * FLOATS.length();
  }

  /**
   * Fused multiply-adds on registers alone, in twelve chains: enough to hide an addition's latency
   * of four or five cycles in two units, and few enough for sixteen registers.
   */
  static float multiplyAdd(int rounds, float factor, float summand) {
    FloatVector f = FloatVector.broadcast(FLOATS, factor);
    FloatVector s = FloatVector.broadcast(FLOATS, summand);
    FloatVector a = s;
    FloatVector b = s.add(1f);
    FloatVector c = s.add(2f);
    FloatVector d = s.add(3f);
    FloatVector e = s.add(4f);
    FloatVector g = s.add(5f);
    FloatVector h = s.add(6f);
    FloatVector i = s.add(7f);
    FloatVector j = s.add(8f);
    FloatVector k = s.add(9f);
    FloatVector l = s.add(10f);
    FloatVector m = s.add(11f);
    for (int round = 0; round < rounds; round++) {
      a = a.fma(f, s);
      b = b.fma(f, s);
      c = c.fma(f, s);
      d = d.fma(f, s);
      e = e.fma(f, s);
      g = g.fma(f, s);
      h = h.fma(f, s);
      i = i.fma(f, s);
      j = j.fma(f, s);
      k = k.fma(f, s);
      l = l.fma(f, s);
      m = m.fma(f, s);
    }
    return a.add(b)
        .add(c.add(d))
        .add(e.add(g))
        .add(h.add(i))
        .add(j.add(k))
        .add(l.add(m))
        .reduceLanes(VectorOperators.ADD);
  }

  /** Reads everything once, and sums it up so that nobody leaves that out. */
  static int sum(int[] values, int from, int to) {
    int step = INTS.length();
    IntVector a = IntVector.zero(INTS);
    IntVector b = a;
    IntVector c = a;
    IntVector d = a;
    int at = from;
    for (; at + 4 * step <= to; at += 4 * step) {
      a = a.add(IntVector.fromArray(INTS, values, at));
      b = b.add(IntVector.fromArray(INTS, values, at + step));
      c = c.add(IntVector.fromArray(INTS, values, at + 2 * step));
      d = d.add(IntVector.fromArray(INTS, values, at + 3 * step));
    }
    int sum = a.add(b).add(c.add(d)).reduceLanes(VectorOperators.ADD);
    for (; at < to; at++) {
      sum += values[at];
    }
    return sum;
  }
}
