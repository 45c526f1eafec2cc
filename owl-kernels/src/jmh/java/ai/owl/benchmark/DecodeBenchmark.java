package ai.owl.benchmark;

import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import ai.owl.tensor.RowDecoder;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** Stored weights to float32: 2 bytes are read and 4 written for each. */
@State(Scope.Benchmark)
public class DecodeBenchmark {
  @Param public ModelShape shape;

  @Param({"BF16", "F16"})
  public DType type;

  private byte[] stored;
  private Matrix target;
  private RowDecoder decoder;

  @Setup
  public void prepare() {
    int rows = shape.hidden;
    int cols = shape.intermediate;
    stored = new byte[2 * rows * cols];
    new SplittableRandom(1).nextBytes(stored);
    // No infinities and NaNs, which no weights are: their exponents have all bits set.
    for (int i = 1; i < stored.length; i += 2) {
      stored[i] &= (byte) 0xbf;
    }
    target = new Matrix(rows, cols);
    decoder = new RowDecoder();
    Machine.announce();
    decoder.decode(type, stored, target, 0, rows);
    for (int r : Expected.sample(rows)) {
      float[] row = Expected.row(target, r);
      for (int j = 0; j < cols; j++) {
        int at = 2 * (r * cols + j);
        int bits = (stored[at] & 0xff) | (stored[at + 1] & 0xff) << 8;
        Expected.equal(type + " " + Integer.toHexString(bits), value(bits), row[j]);
      }
    }
  }

  /** By the formats' definitions: sign, exponent with its bias, fraction. */
  private double value(int bits) {
    int fractionBits = type == DType.BF16 ? 7 : 10;
    int bias = type == DType.BF16 ? 127 : 15;
    int fraction = bits & (1 << fractionBits) - 1;
    int exponent = (bits & 0x7fff) >> fractionBits;
    double significand = Math.scalb((double) fraction, -fractionBits) + (exponent > 0 ? 1 : 0);
    double magnitude = Math.scalb(significand, Math.max(exponent, 1) - bias);
    return bits >> 15 == 0 ? magnitude : -magnitude;
  }

  @Benchmark
  public void decode(Bytes done) {
    decoder.decode(type, stored, target, 0, shape.hidden);
    done.bytes += 6.0 * target.size();
  }

  @TearDown
  public void close() {
    decoder.close();
    target.close();
  }
}
