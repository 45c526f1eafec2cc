package ai.owl.kernel;

import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@link RowOperations} as many elements at once as the processor's vectors hold; what is left at
 * the end of a row goes through {@link PlainRows}, which also defines the bits.
 *
 * <p>Floats and ints come in vectors half as wide as the widest, so that as many doubles make a
 * wide one, and in no others: the JIT tells vectors of one element type apart by what it has seen
 * before, and puts them on the heap where it has seen two widths. That costs several times what the
 * other half of the width could bring to loops that wait for memory.
 *
 * <p>It does so too where too much vector code comes together in one compilation. It inlines no
 * method of more than 325 bytecodes; the largest loops here are longer than that, and meant to be.
 * For the same reason no method takes or returns vectors but the smallest.
 *
 * <p>Comparisons of keys are made of subtractions and sign bits: in Java 17 masks cost more.
 */
final class VectorRows implements RowOperations {
  private static final VectorSpecies<Double> DOUBLES = DoubleVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Float> FLOATS =
      VectorSpecies.of(float.class, VectorShape.forBitSize(DOUBLES.vectorBitSize() / 2));
  private static final VectorSpecies<Integer> INTS = FLOATS.withLanes(int.class);
  private static final int LANES = FLOATS.length();

  /** Tokens that sparse products are made of in one go. */
  private static final int TOGETHER = 8 * LANES;

  private final PlainRows plain = new PlainRows();

  private static DoubleVector doubles(float[] x, int at) {
    return doubles(FloatVector.fromArray(FLOATS, x, at));
  }

  private static DoubleVector doubles(FloatVector x) {
    return (DoubleVector) x.convertShape(VectorOperators.F2D, DOUBLES, 0);
  }

  private static FloatVector floats(DoubleVector x) {
    return (FloatVector) x.convertShape(VectorOperators.D2F, FLOATS, 0);
  }

  /** Where a loop over whole groups of running sums ends. */
  private static int sumsEnd(int from, int to) {
    return from + (to - from) / SUMS * SUMS;
  }

  @Override
  public void addValues(float[] x, int from, int to, double[] sums) {
    int end = sumsEnd(from, to);
    // Two registers of running sums at a time: with AVX-512 these are all.
    for (int l = 0; l < SUMS; l += 2 * LANES) {
      DoubleVector a = DoubleVector.fromArray(DOUBLES, sums, l);
      DoubleVector b = DoubleVector.fromArray(DOUBLES, sums, l + LANES);
      for (int j = from + l; j < end; j += SUMS) {
        a = a.add(doubles(x, j));
        b = b.add(doubles(x, j + LANES));
      }
      a.intoArray(sums, l);
      b.intoArray(sums, l + LANES);
    }
    plain.addValues(x, end, to, sums);
  }

  @Override
  public void addSquares(float[] x, int from, int to, double[] sums) {
    int end = sumsEnd(from, to);
    for (int l = 0; l < SUMS; l += 2 * LANES) {
      DoubleVector a = DoubleVector.fromArray(DOUBLES, sums, l);
      DoubleVector b = DoubleVector.fromArray(DOUBLES, sums, l + LANES);
      for (int j = from + l; j < end; j += SUMS) {
        DoubleVector p = doubles(x, j);
        DoubleVector q = doubles(x, j + LANES);
        a = a.add(p.mul(p));
        b = b.add(q.mul(q));
      }
      a.intoArray(sums, l);
      b.intoArray(sums, l + LANES);
    }
    plain.addSquares(x, end, to, sums);
  }

  @Override
  public void addSquaredDistances(float[] x, int from, int to, double center, double[] sums) {
    int end = sumsEnd(from, to);
    for (int l = 0; l < SUMS; l += 2 * LANES) {
      DoubleVector a = DoubleVector.fromArray(DOUBLES, sums, l);
      DoubleVector b = DoubleVector.fromArray(DOUBLES, sums, l + LANES);
      for (int j = from + l; j < end; j += SUMS) {
        DoubleVector p = doubles(x, j).sub(center);
        DoubleVector q = doubles(x, j + LANES).sub(center);
        a = a.add(p.mul(p));
        b = b.add(q.mul(q));
      }
      a.intoArray(sums, l);
      b.intoArray(sums, l + LANES);
    }
    plain.addSquaredDistances(x, end, to, center, sums);
  }

  private static DoubleVector score(float[] weights, float[] norms, int at) {
    return doubles(
        FloatVector.fromArray(FLOATS, weights, at)
            .lanewise(VectorOperators.ABS)
            .mul(FloatVector.fromArray(FLOATS, norms, at)));
  }

  @Override
  public void addScores(float[] weights, float[] norms, int from, int to, double[] sums) {
    int end = sumsEnd(from, to);
    for (int l = 0; l < SUMS; l += 2 * LANES) {
      DoubleVector a = DoubleVector.fromArray(DOUBLES, sums, l);
      DoubleVector b = DoubleVector.fromArray(DOUBLES, sums, l + LANES);
      for (int j = from + l; j < end; j += SUMS) {
        a = a.add(score(weights, norms, j));
        b = b.add(score(weights, norms, j + LANES));
      }
      a.intoArray(sums, l);
      b.intoArray(sums, l + LANES);
    }
    plain.addScores(weights, norms, end, to, sums);
  }

  @Override
  public void addColumnSquares(
      float[] rows, int count, int width, double[] sums, int from, int to) {
    int j = from;
    for (; j <= to - 2 * LANES; j += 2 * LANES) {
      DoubleVector a = DoubleVector.fromArray(DOUBLES, sums, j);
      DoubleVector b = DoubleVector.fromArray(DOUBLES, sums, j + LANES);
      for (int r = 0, at = j; r < count; r++, at += width) {
        DoubleVector p = doubles(rows, at);
        DoubleVector q = doubles(rows, at + LANES);
        a = a.add(p.mul(p));
        b = b.add(q.mul(q));
      }
      a.intoArray(sums, j);
      b.intoArray(sums, j + LANES);
    }
    plain.addColumnSquares(rows, count, width, sums, j, to);
  }

  @Override
  public float max(float[] x, int from, int to) {
    if (to - from < LANES) {
      return plain.max(x, from, to);
    }
    FloatVector max = FloatVector.fromArray(FLOATS, x, from);
    int j = from + LANES;
    for (; j <= to - LANES; j += LANES) {
      max = max.max(FloatVector.fromArray(FLOATS, x, j));
    }
    return Math.max(max.reduceLanes(VectorOperators.MAX), plain.max(x, j, to));
  }

  /** {@code out_j = e^(x_j · sign − shift)}, by {@link PlainRows#exp(float)}. */
  private static void exponentials(
      float[] x, float sign, float shift, float[] out, int from, int to) {
    float min = PlainRows.EXP_MIN;
    float max = PlainRows.EXP_MAX;
    float toInteger = PlainRows.TO_INTEGER;
    int integerBits = Float.floatToRawIntBits(toInteger);
    float high = PlainRows.LN2_HIGH;
    float low = PlainRows.LN2_LOW;
    for (int j = from; j < to; j += LANES) {
      FloatVector value = FloatVector.fromArray(FLOATS, x, j).mul(sign).sub(shift);
      FloatVector at = value.blend(min, value.compare(VectorOperators.LT, min));
      at = at.blend(max, at.compare(VectorOperators.GT, max));
      FloatVector shifted = at.mul(PlainRows.LOG2_E).add(toInteger);
      IntVector n = shifted.reinterpretAsInts().sub(integerBits);
      FloatVector whole = shifted.sub(toInteger);
      FloatVector r = at.sub(whole.mul(high)).sub(whole.mul(low));
      FloatVector p = r.mul(PlainRows.EXP[0]).add(PlainRows.EXP[1]);
      p = p.mul(r).add(PlainRows.EXP[2]);
      p = p.mul(r).add(PlainRows.EXP[3]);
      p = p.mul(r).add(PlainRows.EXP[4]);
      p = p.mul(r).add(PlainRows.EXP[5]);
      p = p.mul(r.mul(r)).add(r).add(1f);
      IntVector half = n.lanewise(VectorOperators.ASHR, 1);
      IntVector rest = n.sub(half);
      p.mul(half.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats())
          .mul(rest.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats())
          .intoArray(out, j);
    }
  }

  @Override
  public void exponentials(float[] x, int from, int to, float shift) {
    int end = from + (to - from) / LANES * LANES;
    exponentials(x, 1, shift, x, from, end);
    plain.exponentials(x, end, to, shift);
  }

  @Override
  public void multiply(float[] x, int from, int to, float factor) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector.fromArray(FLOATS, x, j).mul(factor).intoArray(x, j);
    }
    plain.multiply(x, j, to, factor);
  }

  @Override
  public void multiply(float[] x, float[] by, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector.fromArray(FLOATS, x, j).mul(FloatVector.fromArray(FLOATS, by, j)).intoArray(x, j);
    }
    plain.multiply(x, by, j, to);
  }

  @Override
  public void scale(float[] x, int at, float scale, float[] gain, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector.fromArray(FLOATS, x, at + j)
          .mul(scale)
          .mul(FloatVector.fromArray(FLOATS, gain, j))
          .intoArray(x, at + j);
    }
    plain.scale(x, at, scale, gain, j, to);
  }

  @Override
  public void standardize(
      float[] x, double mean, double scale, float[] gain, float[] bias, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      floats(doubles(x, j).sub(mean).mul(scale))
          .mul(FloatVector.fromArray(FLOATS, gain, j))
          .add(FloatVector.fromArray(FLOATS, bias, j))
          .intoArray(x, j);
    }
    plain.standardize(x, mean, scale, gain, bias, j, to);
  }

  @Override
  public void silu(float[] x, int from, int to) {
    int end = from + (to - from) / LANES * LANES;
    float[] exponentials = new float[end];
    exponentials(x, -1, 0, exponentials, from, end);
    for (int j = from; j < end; j += LANES) {
      FloatVector.fromArray(FLOATS, x, j)
          .div(FloatVector.fromArray(FLOATS, exponentials, j).add(1f))
          .intoArray(x, j);
    }
    plain.silu(x, end, to);
  }

  @Override
  public void geluTanh(float[] x, int from, int to) {
    int end = from + (to - from) / LANES * LANES;
    double[] exponents = new double[end];
    for (int j = from; j < end; j += LANES) {
      DoubleVector value = doubles(x, j);
      value
          .add(value.mul(0.044715).mul(value).mul(value))
          .mul(PlainRows.SQRT_2_OVER_PI)
          .mul(-2)
          .intoArray(exponents, j);
    }
    exponentials(exponents, from, end);
    for (int j = from; j < end; j += LANES) {
      floats(doubles(x, j).div(DoubleVector.fromArray(DOUBLES, exponents, j).add(1)))
          .intoArray(x, j);
    }
    plain.geluTanh(x, end, to);
  }

  /** {@code x_j = e^x_j}, by {@link PlainRows#exp(double)}. */
  private static void exponentials(double[] x, int from, int to) {
    for (int j = from; j < to; j += LANES) {
      DoubleVector value = DoubleVector.fromArray(DOUBLES, x, j);
      DoubleVector at =
          value.blend(
              PlainRows.EXP_MIN_64, value.compare(VectorOperators.LT, PlainRows.EXP_MIN_64));
      at = at.blend(PlainRows.EXP_MAX_64, at.compare(VectorOperators.GT, PlainRows.EXP_MAX_64));
      DoubleVector shifted = at.mul(PlainRows.LOG2_E_64).add(PlainRows.TO_INTEGER_64);
      LongVector n =
          shifted.reinterpretAsLongs().sub(Double.doubleToRawLongBits(PlainRows.TO_INTEGER_64));
      DoubleVector whole = shifted.sub(PlainRows.TO_INTEGER_64);
      DoubleVector r =
          at.sub(whole.mul(PlainRows.LN2_HIGH_64)).sub(whole.mul(PlainRows.LN2_LOW_64));
      DoubleVector p = r.mul(PlainRows.FACTORIALS[0]).add(PlainRows.FACTORIALS[1]);
      p = p.mul(r).add(PlainRows.FACTORIALS[2]);
      p = p.mul(r).add(PlainRows.FACTORIALS[3]);
      p = p.mul(r).add(PlainRows.FACTORIALS[4]);
      p = p.mul(r).add(PlainRows.FACTORIALS[5]);
      p = p.mul(r).add(PlainRows.FACTORIALS[6]);
      p = p.mul(r).add(PlainRows.FACTORIALS[7]);
      p = p.mul(r).add(PlainRows.FACTORIALS[8]);
      p = p.mul(r).add(PlainRows.FACTORIALS[9]);
      p = p.mul(r).add(PlainRows.FACTORIALS[10]);
      // n is far below 2^31: AVX2 has no arithmetic shift of longs, but n + 2048 is not negative.
      LongVector half = n.add(2048).lanewise(VectorOperators.LSHR, 1).sub(1024);
      LongVector rest = n.sub(half);
      p.mul(half.add(1023).lanewise(VectorOperators.LSHL, 52).reinterpretAsDoubles())
          .mul(rest.add(1023).lanewise(VectorOperators.LSHL, 52).reinterpretAsDoubles())
          .intoArray(x, j);
    }
  }

  @Override
  public void rotate(
      float[] x, int at, int half, float[] cos, float[] sin, int table, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector a = FloatVector.fromArray(FLOATS, x, at + j);
      FloatVector b = FloatVector.fromArray(FLOATS, x, at + half + j);
      FloatVector c = FloatVector.fromArray(FLOATS, cos, table + j);
      FloatVector s = FloatVector.fromArray(FLOATS, sin, table + j);
      a.mul(c).sub(b.mul(s)).intoArray(x, at + j);
      b.mul(c).add(a.mul(s)).intoArray(x, at + half + j);
    }
    plain.rotate(x, at, half, cos, sin, table, j, to);
  }

  @Override
  public void magnitudes(float[] weights, float[] scores, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector.fromArray(FLOATS, weights, j).lanewise(VectorOperators.ABS).intoArray(scores, j);
    }
    plain.magnitudes(weights, scores, j, to);
  }

  @Override
  public void weighted(float[] weights, float[] norms, float[] scores, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector.fromArray(FLOATS, weights, j)
          .lanewise(VectorOperators.ABS)
          .mul(FloatVector.fromArray(FLOATS, norms, j))
          .intoArray(scores, j);
    }
    plain.weighted(weights, norms, scores, j, to);
  }

  @Override
  public void relative(
      float[] weights,
      float[] columns,
      float row,
      float[] factors,
      float[] scores,
      int from,
      int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector magnitude =
          FloatVector.fromArray(FLOATS, weights, j).lanewise(VectorOperators.ABS);
      FloatVector score =
          magnitude
              .div(FloatVector.fromArray(FLOATS, columns, j))
              .add(magnitude.div(row))
              .mul(FloatVector.fromArray(FLOATS, factors, j));
      score.blend(0f, magnitude.compare(VectorOperators.EQ, 0f)).intoArray(scores, j);
    }
    plain.relative(weights, columns, row, factors, scores, j, to);
  }

  @Override
  public void keys(float[] scores, int[] keys, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      key(scores, j).intoArray(keys, j);
    }
    plain.keys(scores, keys, j, to);
  }

  private static IntVector key(float[] scores, int at) {
    return FloatVector.fromArray(FLOATS, scores, at).reinterpretAsInts().and(0x7fffffff);
  }

  @Override
  public int countBelow(int[] keys, int from, int to, int limit) {
    IntVector a = IntVector.zero(INTS);
    IntVector b = IntVector.zero(INTS);
    int j = from;
    for (; j <= to - 2 * LANES; j += 2 * LANES) {
      a = a.add(IntVector.fromArray(INTS, keys, j).sub(limit).lanewise(VectorOperators.LSHR, 31));
      b =
          b.add(
              IntVector.fromArray(INTS, keys, j + LANES)
                  .sub(limit)
                  .lanewise(VectorOperators.LSHR, 31));
    }
    return a.add(b).reduceLanes(VectorOperators.ADD) + plain.countBelow(keys, j, to, limit);
  }

  @Override
  public int collect(int[] keys, int from, int to, int low, int high, int[] found, int size) {
    IntVector most = IntVector.broadcast(INTS, high);
    int at = size;
    int j = from;
    for (; j <= to - 2 * LANES; j += 2 * LANES) {
      IntVector a = IntVector.fromArray(INTS, keys, j);
      IntVector b = IntVector.fromArray(INTS, keys, j + LANES);
      // Negative where a key is out of the range; there are few that are not.
      IntVector out = a.sub(low).or(most.sub(a)).and(b.sub(low).or(most.sub(b)));
      if (!out.test(VectorOperators.IS_NEGATIVE).allTrue()) {
        at = plain.collect(keys, j, j + 2 * LANES, low, high, found, at);
      }
    }
    return plain.collect(keys, j, to, low, high, found, at);
  }

  @Override
  public void zeroBelow(float[] x, int[] keys, int limit, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      IntVector goes =
          IntVector.fromArray(INTS, keys, j).sub(limit).lanewise(VectorOperators.ASHR, 31);
      FloatVector.fromArray(FLOATS, x, j)
          .reinterpretAsInts()
          .lanewise(VectorOperators.AND_NOT, goes)
          .reinterpretAsFloats()
          .intoArray(x, j);
    }
    plain.zeroBelow(x, keys, limit, j, to);
  }

  @Override
  public void zeroInGroups(float[] x, int[] keys, int count, int group, int from, int to) {
    if (Integer.bitCount(group) > 1 || group > LANES) {
      plain.zeroInGroups(x, keys, count, group, from, to);
      return;
    }
    int end = from + (to - from) / LANES * LANES;
    int[] before = new int[end - from];
    int[] tie = new int[LANES];
    // A lane meets each other one of its group once: those whose numbers differ by the same bits.
    for (int other = 1; other < group; other++) {
      int bits = other;
      VectorShuffle<Integer> shuffle = VectorShuffle.fromOp(INTS, lane -> lane ^ bits);
      for (int lane = 0; lane < LANES; lane++) {
        tie[lane] = (lane ^ bits) < lane ? 1 : 0;
      }
      IntVector ties = IntVector.fromArray(INTS, tie, 0);
      for (int j = from; j < end; j += LANES) {
        IntVector mine = IntVector.fromArray(INTS, keys, j);
        IntVector isBefore =
            mine.rearrange(shuffle).sub(mine).sub(ties).lanewise(VectorOperators.LSHR, 31);
        IntVector.fromArray(INTS, before, j - from).add(isBefore).intoArray(before, j - from);
      }
    }
    zeroWhereFew(x, before, from, count, end);
    plain.zeroInGroups(x, keys, count, group, end, to);
  }

  /** {@code x_j = +0} where fewer than {@code count} are before it. */
  private static void zeroWhereFew(float[] x, int[] before, int from, int count, int to) {
    for (int j = from; j < to; j += LANES) {
      IntVector goes =
          IntVector.fromArray(INTS, before, j - from).sub(count).lanewise(VectorOperators.ASHR, 31);
      FloatVector.fromArray(FLOATS, x, j)
          .reinterpretAsInts()
          .lanewise(VectorOperators.AND_NOT, goes)
          .reinterpretAsFloats()
          .intoArray(x, j);
    }
  }

  @Override
  public void countAbove(float[] scores, int[] limits, long[] counts, int from, int to) {
    int end = from + (to - from) / LANES * LANES;
    int t = 0;
    for (; t + 3 < limits.length; t += 4) {
      IntVector a = IntVector.zero(INTS);
      IntVector b = IntVector.zero(INTS);
      IntVector c = IntVector.zero(INTS);
      IntVector d = IntVector.zero(INTS);
      IntVector limitA = IntVector.broadcast(INTS, limits[t]);
      IntVector limitB = IntVector.broadcast(INTS, limits[t + 1]);
      IntVector limitC = IntVector.broadcast(INTS, limits[t + 2]);
      IntVector limitD = IntVector.broadcast(INTS, limits[t + 3]);
      for (int j = from; j < end; j += LANES) {
        IntVector key = key(scores, j);
        a = a.add(limitA.sub(key).lanewise(VectorOperators.LSHR, 31));
        b = b.add(limitB.sub(key).lanewise(VectorOperators.LSHR, 31));
        c = c.add(limitC.sub(key).lanewise(VectorOperators.LSHR, 31));
        d = d.add(limitD.sub(key).lanewise(VectorOperators.LSHR, 31));
      }
      counts[t] += a.reduceLanes(VectorOperators.ADD);
      counts[t + 1] += b.reduceLanes(VectorOperators.ADD);
      counts[t + 2] += c.reduceLanes(VectorOperators.ADD);
      counts[t + 3] += d.reduceLanes(VectorOperators.ADD);
    }
    for (; t < limits.length; t++) {
      IntVector above = IntVector.zero(INTS);
      IntVector limit = IntVector.broadcast(INTS, limits[t]);
      for (int j = from; j < end; j += LANES) {
        above = above.add(limit.sub(key(scores, j)).lanewise(VectorOperators.LSHR, 31));
      }
      counts[t] += above.reduceLanes(VectorOperators.ADD);
    }
    plain.countAbove(scores, limits, counts, end, to);
  }

  @Override
  public int zeros(float[] x, int from, int to) {
    IntVector zeros = IntVector.zero(INTS);
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      zeros = zeros.add(key(x, j).sub(1).lanewise(VectorOperators.LSHR, 31));
    }
    return zeros.reduceLanes(VectorOperators.ADD) + plain.zeros(x, j, to);
  }

  @Override
  public boolean areBfloat16(float[] x, int from, int to) {
    IntVector strange = IntVector.zero(INTS);
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      IntVector magnitude = key(x, j);
      IntVector subnormal = magnitude.sub(0x00800000).and(magnitude.sub(1).not());
      strange = strange.or(magnitude.and(0xffff)).or(subnormal.and(0x80000000));
    }
    return strange.reduceLanes(VectorOperators.OR) == 0 && plain.areBfloat16(x, j, to);
  }

  @Override
  public void errorKeys(float[] weights, float[] diagonal, int[] keys, int at, int from, int to) {
    int j = from;
    for (; j <= to - LANES; j += LANES) {
      FloatVector weight = FloatVector.fromArray(FLOATS, weights, j);
      FloatVector size = FloatVector.fromArray(FLOATS, diagonal, j);
      weight
          .mul(weight)
          .div(size.mul(size))
          .reinterpretAsInts()
          .and(0x7fffffff)
          .intoArray(keys, at + j);
    }
    plain.errorKeys(weights, diagonal, keys, at, j, to);
  }

  /**
   * As many rows at once as a vector has lanes: a column of them is a vector. Also rows that keep
   * their weight are updated, by zero, which costs less than asking.
   */
  @Override
  public void compensate(ErrorCompensation.Columns block, float[] rows, int count, float[] errors) {
    int width = block.width();
    float[] w = new float[width * LANES];
    float[] e = new float[width * LANES];
    int[] goes = new int[width * LANES];
    int of = block.of();
    int[] keys = new int[of * LANES];
    // Columns whose errors reach what is behind them together; groups are not cut.
    int together = of == 0 ? 16 : of >= 16 ? of : 16 / of * of;
    for (int first = 0; first < count; first += LANES) {
      int some = Math.min(LANES, count - first);
      for (int r = 0; r < some; r++) {
        for (int j = 0, at = (first + r) * width; j < width; j++) {
          w[j * LANES + r] = rows[at + j] + 0f; // −0.0 + 0.0 is +0.0
        }
      }
      if (of == 0) {
        choose(block, w, goes);
      }
      for (int col = 0; col < width; col += together) {
        int end = Math.min(width, col + together);
        for (int i = col; i < end; i++) {
          if (of > 0 && i % of == 0) {
            chooseGroup(block, w, keys, goes, i);
          }
          remove(block, w, e, goes, i, end);
        }
        compensateBehind(block, w, e, col, end);
      }
      for (int r = 0; r < some; r++) {
        for (int j = 0, at = (first + r) * width; j < width; j++) {
          rows[at + j] = w[j * LANES + r];
          errors[at + j] = e[j * LANES + r];
        }
      }
    }
  }

  /** The keys of columns [from, to), into {@code keys} from its beginning. */
  private static void errorKeys(
      ErrorCompensation.Columns block, float[] w, int[] keys, int from, int to) {
    for (int j = from; j < to; j++) {
      float diagonal = block.upper()[j * block.width() + j];
      FloatVector weight = FloatVector.fromArray(FLOATS, w, j * LANES);
      weight
          .mul(weight)
          .div(diagonal * diagonal)
          .reinterpretAsInts()
          .and(0x7fffffff)
          .intoArray(keys, (j - from) * LANES);
    }
  }

  /** All bits set where a weight goes. */
  private static void choose(ErrorCompensation.Columns block, float[] w, int[] goes) {
    errorKeys(block, w, goes, 0, block.width());
    for (int j = 0; j < goes.length; j += LANES) {
      IntVector.fromArray(INTS, goes, j)
          .sub(block.limit())
          .lanewise(VectorOperators.ASHR, 31)
          .intoArray(goes, j);
    }
  }

  /** As {@link #choose}, of a group, as its weights are now. */
  private static void chooseGroup(
      ErrorCompensation.Columns block, float[] w, int[] keys, int[] goes, int first) {
    int end = first + block.of();
    errorKeys(block, w, keys, first, end);
    for (int j = first; j < end; j++) {
      IntVector mine = IntVector.fromArray(INTS, keys, (j - first) * LANES);
      // Starts below zero by as many as go: what is still below zero in the end is one of them.
      IntVector.broadcast(INTS, block.kept() - block.of()).intoArray(goes, j * LANES);
      for (int i = first; i < end; i++) {
        IntVector isBefore =
            IntVector.fromArray(INTS, keys, (i - first) * LANES)
                .sub(mine)
                .sub(i < j ? 1 : 0)
                .lanewise(VectorOperators.LSHR, 31);
        IntVector.fromArray(INTS, goes, j * LANES).add(isBefore).intoArray(goes, j * LANES);
      }
      IntVector.fromArray(INTS, goes, j * LANES)
          .lanewise(VectorOperators.ASHR, 31)
          .intoArray(goes, j * LANES);
    }
  }

  /** Removes what goes of column i, and makes up for it in the columns up to {@code end}. */
  private static void remove(
      ErrorCompensation.Columns block, float[] w, float[] e, int[] goes, int i, int end) {
    float[] upper = block.upper();
    int factors = i * block.width();
    FloatVector weight = FloatVector.fromArray(FLOATS, w, i * LANES);
    IntVector gone = IntVector.fromArray(INTS, goes, i * LANES);
    FloatVector error =
        weight.div(upper[factors + i]).reinterpretAsInts().and(gone).reinterpretAsFloats();
    error.intoArray(e, i * LANES);
    weight
        .reinterpretAsInts()
        .lanewise(VectorOperators.AND_NOT, gone)
        .reinterpretAsFloats()
        .intoArray(w, i * LANES);
    for (int j = i + 1; j < end; j++) {
      FloatVector.fromArray(FLOATS, w, j * LANES)
          .sub(error.mul(upper[factors + j]))
          .intoArray(w, j * LANES);
    }
  }

  /**
   * {@code w_j −= Σ e_i · U_ij}, i in [from, to) one after the other, for all j from {@code to}. No
   * vector is handed from one turn of a loop to the next: the JIT puts some of those on the heap.
   */
  private static void compensateBehind(
      ErrorCompensation.Columns block, float[] w, float[] e, int from, int to) {
    float[] upper = block.upper();
    int width = block.width();
    int i = from;
    for (; i + 7 < to; i += 8) {
      FloatVector e0 = FloatVector.fromArray(FLOATS, e, i * LANES);
      FloatVector e1 = FloatVector.fromArray(FLOATS, e, (i + 1) * LANES);
      FloatVector e2 = FloatVector.fromArray(FLOATS, e, (i + 2) * LANES);
      FloatVector e3 = FloatVector.fromArray(FLOATS, e, (i + 3) * LANES);
      FloatVector e4 = FloatVector.fromArray(FLOATS, e, (i + 4) * LANES);
      FloatVector e5 = FloatVector.fromArray(FLOATS, e, (i + 5) * LANES);
      FloatVector e6 = FloatVector.fromArray(FLOATS, e, (i + 6) * LANES);
      FloatVector e7 = FloatVector.fromArray(FLOATS, e, (i + 7) * LANES);
      int at = i * width;
      for (int j = to; j < width; j++) {
        FloatVector.fromArray(FLOATS, w, j * LANES)
            .sub(e0.mul(upper[at + j]))
            .sub(e1.mul(upper[at + width + j]))
            .sub(e2.mul(upper[at + 2 * width + j]))
            .sub(e3.mul(upper[at + 3 * width + j]))
            .sub(e4.mul(upper[at + 4 * width + j]))
            .sub(e5.mul(upper[at + 5 * width + j]))
            .sub(e6.mul(upper[at + 6 * width + j]))
            .sub(e7.mul(upper[at + 7 * width + j]))
            .intoArray(w, j * LANES);
      }
    }
    for (; i < to; i++) {
      FloatVector error = FloatVector.fromArray(FLOATS, e, i * LANES);
      int at = i * width;
      for (int j = to; j < width; j++) {
        FloatVector.fromArray(FLOATS, w, j * LANES)
            .sub(error.mul(upper[at + j]))
            .intoArray(w, j * LANES);
      }
    }
  }

  @Override
  public void addSparse(float[] tile, int at, float[] weights, char[] index, int rows) {
    for (int t = 0; t < TOKENS; t += TOGETHER) {
      addSparse(tile, at, weights, index, rows, t);
    }
  }

  /**
   * Tokens from {@code from} on: eight vectors, as many sums as it takes for no multiply-add to
   * wait for another. They stay in registers throughout a row. A weight costs little more than its
   * eight multiply-adds, which take x from memory: that is why x is their second factor, the only
   * one of which Java 17's JIT knows that it may lie there, and why one n counts weights and index.
   */
  private static void addSparse(
      float[] tile, int at, float[] weights, char[] index, int rows, int from) {
    for (int r = 0, y = at + from; r < rows; r++, y += TOKENS) {
      int n = index[r];
      int end = index[r + 1];
      FloatVector a = FloatVector.fromArray(FLOATS, tile, y);
      FloatVector b = FloatVector.fromArray(FLOATS, tile, y + LANES);
      FloatVector c = FloatVector.fromArray(FLOATS, tile, y + 2 * LANES);
      FloatVector d = FloatVector.fromArray(FLOATS, tile, y + 3 * LANES);
      FloatVector e = FloatVector.fromArray(FLOATS, tile, y + 4 * LANES);
      FloatVector f = FloatVector.fromArray(FLOATS, tile, y + 5 * LANES);
      FloatVector g = FloatVector.fromArray(FLOATS, tile, y + 6 * LANES);
      FloatVector h = FloatVector.fromArray(FLOATS, tile, y + 7 * LANES);
      for (; n < end; n++) {
        FloatVector w = FloatVector.broadcast(FLOATS, weights[n]);
        int x = TOGETHER == TOKENS ? index[n] : index[n] + from;
        a = w.fma(FloatVector.fromArray(FLOATS, tile, x), a);
        b = w.fma(FloatVector.fromArray(FLOATS, tile, x + LANES), b);
        c = w.fma(FloatVector.fromArray(FLOATS, tile, x + 2 * LANES), c);
        d = w.fma(FloatVector.fromArray(FLOATS, tile, x + 3 * LANES), d);
        e = w.fma(FloatVector.fromArray(FLOATS, tile, x + 4 * LANES), e);
        f = w.fma(FloatVector.fromArray(FLOATS, tile, x + 5 * LANES), f);
        g = w.fma(FloatVector.fromArray(FLOATS, tile, x + 6 * LANES), g);
        h = w.fma(FloatVector.fromArray(FLOATS, tile, x + 7 * LANES), h);
      }
      a.intoArray(tile, y);
      b.intoArray(tile, y + LANES);
      c.intoArray(tile, y + 2 * LANES);
      d.intoArray(tile, y + 3 * LANES);
      e.intoArray(tile, y + 4 * LANES);
      f.intoArray(tile, y + 5 * LANES);
      g.intoArray(tile, y + 6 * LANES);
      h.intoArray(tile, y + 7 * LANES);
    }
  }
}
