package ai.owl.kernel;

import ai.owl.tensor.Matrix;
import java.io.Serializable;

/**
 * Rotary position embedding (arXiv 2104.09864) in the "rotate half" layout of Hugging Face
 * checkpoints: the pair (j, j + d/2) of a head of width d is turned at position p by the angle
 * {@code p · f_j}, with {@code f_j = theta^(-2j/d)} before scaling.
 *
 * @param theta base of the frequencies
 * @param headDim width d of a head, even
 * @param scaling how the frequencies are changed for longer contexts
 */
public record RotaryEmbedding(double theta, int headDim, Scaling scaling) implements Serializable {

  /** How frequencies are stretched. */
  public sealed interface Scaling extends Serializable {
    float scale(float frequency);

    /** For people. */
    String label();
  }

  /** Frequencies as they are. */
  public record Unscaled() implements Scaling {
    @Override
    public float scale(float frequency) {
      return frequency;
    }

    @Override
    public String label() {
      return "unscaled";
    }
  }

  /** All frequencies divided by a factor (position interpolation, arXiv 2306.15595). */
  public record Linear(double factor) implements Scaling {
    @Override
    public float scale(float frequency) {
      return (float) (frequency / factor);
    }

    @Override
    public String label() {
      return "linear scaling by " + factor;
    }
  }

  /**
   * Llama 3's scaling: wavelengths longer than {@code originalPositions / lowFrequencyFactor} are
   * divided by {@code factor}, those shorter than {@code originalPositions / highFrequencyFactor}
   * stay, and between the two the division fades in.
   */
  public record Llama3(
      double factor,
      double lowFrequencyFactor,
      double highFrequencyFactor,
      double originalPositions)
      implements Scaling {
    @Override
    public String label() {
      return "Llama-3 scaling by " + factor + " of " + (long) originalPositions + " positions";
    }

    @Override
    public float scale(float frequency) {
      double wavelength = 2 * Math.PI / frequency;
      if (wavelength > originalPositions / lowFrequencyFactor) {
        return (float) (frequency / factor);
      }
      if (wavelength < originalPositions / highFrequencyFactor) {
        return frequency;
      }
      double smooth =
          (originalPositions / wavelength - lowFrequencyFactor)
              / (highFrequencyFactor - lowFrequencyFactor);
      return (float) ((1 - smooth) * frequency / factor + smooth * frequency);
    }
  }

  /** The cosines and sines of positions 0..positions-1. */
  public Table table(int positions) {
    int half = headDim / 2;
    float[] cos = new float[Math.multiplyExact(positions, half)];
    float[] sin = new float[cos.length];
    for (int j = 0; j < half; j++) {
      float frequency = scaling.scale((float) (1 / Math.pow(theta, 2.0 * j / headDim)));
      for (int p = 0; p < positions; p++) {
        float angle = p * frequency;
        cos[p * half + j] = (float) Math.cos(angle);
        sin[p * half + j] = (float) Math.sin(angle);
      }
    }
    return new Table(positions, half, cos, sin);
  }

  /** The precomputed rotations of a number of positions. */
  public static final class Table {
    private final int positions;
    private final int half;
    private final float[] cos; // (positions, half)
    private final float[] sin; // (positions, half)

    private Table(int positions, int half, float[] cos, float[] sin) {
      this.positions = positions;
      this.half = half;
      this.cos = cos;
      this.sin = sin;
    }

    public int positions() {
      return positions;
    }

    /** Turns every head of every row, in place; the row's number is its position. */
    public void rotate(Matrix x) {
      rotate(x, 0);
    }

    /**
     * Turns every head of every row, in place.
     *
     * @param x (tokens, heads · headDim); its rows are the positions {@code past} and on
     * @param past position of the first row; {@code past + tokens} is at most {@link #positions}
     */
    public void rotate(Matrix x, int past) {
      RowChunks.forEach(
          x,
          (chunk, from, to) -> {
            float[] row = new float[x.cols()];
            for (long t = from; t < to; t++) {
              x.row(t, row);
              int at = (past + (int) t) * half;
              for (int head = 0; head < row.length; head += 2 * half) {
                RowCode.forward().rotate(row, head, half, cos, sin, at, 0, half);
              }
              x.setRow(t, row);
            }
          });
    }
  }
}
