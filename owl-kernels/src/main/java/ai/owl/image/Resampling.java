package ai.owl.image;

/**
 * A filter that images are resized with, as Pillow does it and by its numbers, so that {@code
 * resample} of a {@code preprocessor_config.json} means the same here: to the last bit as in Pillow
 * 13, and up to 1 of 255 as in those before it, which always began with the rows.
 *
 * <p>Each pixel of the result is a weighted mean of those around the corresponding point of the
 * original, in two steps, along the rows and along the columns. Where the image shrinks, the filter
 * grows by the same factor. Weights are fixed-point numbers of 22 bits, and what lies between the
 * two steps is rounded to 8.
 */
public enum Resampling {
  LANCZOS(1, 3) {
    @Override
    double weight(double x) {
      return Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
    }
  },
  BILINEAR(2, 1) {
    @Override
    double weight(double x) {
      return Math.max(0, 1 - Math.abs(x));
    }
  },
  BICUBIC(3, 2) {
    @Override
    double weight(double x) {
      double t = Math.abs(x);
      double a = -0.5;
      if (t < 1) {
        return ((a + 2) * t - (a + 3)) * t * t + 1;
      }
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    }
  },
  BOX(4, 0.5) {
    @Override
    double weight(double x) {
      return x > -0.5 && x <= 0.5 ? 1 : 0;
    }
  },
  HAMMING(5, 1) {
    @Override
    double weight(double x) {
      return Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0;
    }
  };

  private static final int WEIGHT_BITS = 22;

  private final int code;
  private final double support;

  Resampling(int code, double support) {
    this.code = code;
    this.support = support;
  }

  /** Pillow's number for it. */
  public int code() {
    return code;
  }

  abstract double weight(double x);

  private static double sinc(double x) {
    return x == 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
  }

  /**
   * Resizes a picture of three 8-bit channels that alternate.
   *
   * @param samples (height, width, 3)
   * @return (newHeight, newWidth, 3)
   */
  byte[] resize(byte[] samples, int width, int height, int newWidth, int newHeight) {
    // What the first step rounds, the second one sees; so the order of the two is Pillow's: rows
    // first, unless the height shrinks, and by more than twice what the width does.
    if (newHeight < height && height - newHeight > 2 * (width - newWidth)) {
      byte[] flat = across(samples, height, 3 * width, newHeight);
      return along(flat, width, newHeight, newWidth);
    }
    return across(along(samples, width, height, newWidth), height, 3 * newWidth, newHeight);
  }

  /** Resizes every row of pixels. */
  private byte[] along(byte[] samples, int size, int rows, int newSize) {
    if (size == newSize) {
      return samples;
    }
    Window[] windows = windows(size, newSize);
    byte[] out = new byte[Math.multiplyExact(rows, 3 * newSize)];
    for (int row = 0; row < rows; row++) {
      for (int x = 0; x < newSize; x++) {
        for (int channel = 0; channel < 3; channel++) {
          int first = (row * size + windows[x].first) * 3 + channel;
          out[(row * newSize + x) * 3 + channel] = windows[x].mean(samples, first, 3);
        }
      }
    }
    return out;
  }

  /** Resizes every column of samples. */
  private byte[] across(byte[] samples, int size, int columns, int newSize) {
    if (size == newSize) {
      return samples;
    }
    Window[] windows = windows(size, newSize);
    byte[] out = new byte[Math.multiplyExact(newSize, columns)];
    for (int y = 0; y < newSize; y++) {
      for (int column = 0; column < columns; column++) {
        out[y * columns + column] =
            windows[y].mean(samples, windows[y].first * columns + column, columns);
      }
    }
    return out;
  }

  /**
   * What one pixel of the result is made of.
   *
   * @param first the first pixel of the original that counts
   * @param weights of it and those after it; fixed-point
   */
  private record Window(int first, int[] weights) {
    byte mean(byte[] samples, int at, int step) {
      int sum = 1 << WEIGHT_BITS - 1;
      for (int weight : weights) {
        sum += (samples[at] & 0xff) * weight;
        at += step;
      }
      return (byte) Math.max(0, Math.min(255, sum >> WEIGHT_BITS));
    }
  }

  private Window[] windows(int size, int newSize) {
    double scale = (double) size / newSize;
    double stretch = Math.max(1, scale);
    double reach = support * stretch;
    Window[] windows = new Window[newSize];
    for (int i = 0; i < newSize; i++) {
      double center = (i + 0.5) * scale;
      int first = Math.max(0, (int) (center - reach + 0.5));
      int end = Math.min(size, (int) (center + reach + 0.5));
      double[] exact = new double[end - first];
      double sum = 0;
      for (int j = 0; j < exact.length; j++) {
        exact[j] = weight((first + j - center + 0.5) / stretch);
        sum += exact[j];
      }
      int[] weights = new int[exact.length];
      for (int j = 0; j < weights.length; j++) {
        double weight = sum == 0 ? exact[j] : exact[j] / sum;
        weights[j] = (int) (weight * (1 << WEIGHT_BITS) + (weight < 0 ? -0.5 : 0.5));
      }
      windows[i] = new Window(first, weights);
    }
    return windows;
  }
}
