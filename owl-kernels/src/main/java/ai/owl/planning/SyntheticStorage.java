package ai.owl.planning;

import ai.owl.checkpoint.Storage;
import ai.owl.tensor.DType;
import java.io.FileNotFoundException;
import java.util.List;
import java.util.Random;

/**
 * A storage that makes up the weights of any file, small and Gaussian, and forgets what is written:
 * what is measured with it is arithmetic, not a disk.
 */
final class SyntheticStorage implements Storage {
  private static final long serialVersionUID = 1;

  /** Values before they repeat: a prime, lest the rows of a matrix be alike. */
  private static final int PERIOD = 1_048_573;

  private static final float SCALE = 0.02f;

  private final byte[] pattern;

  SyntheticStorage(DType type) {
    Random random = new Random(1);
    float[] values = new float[PERIOD];
    for (int i = 0; i < PERIOD; i++) {
      values[i] = SCALE * (float) random.nextGaussian();
    }
    pattern = new byte[PERIOD * type.bytes()];
    type.narrow(values, PERIOD, pattern, 0);
  }

  @Override
  public Reader open(String location) {
    return new Reader() {
      @Override
      public long size() {
        return Long.MAX_VALUE;
      }

      @Override
      public void read(long position, byte[] target, int offset, int length) {
        int at = (int) (position % pattern.length);
        for (int done = 0; done < length; ) {
          int count = Math.min(length - done, pattern.length - at);
          System.arraycopy(pattern, at, target, offset + done, count);
          done += count;
          at = 0;
        }
      }

      @Override
      public void close() {}
    };
  }

  @Override
  public FileStream create(String location) {
    return new FileStream() {
      @Override
      public void write(int b) {}

      @Override
      public void write(byte[] bytes, int offset, int length) {}

      @Override
      public void abort() {}
    };
  }

  @Override
  public byte[] readAll(String location, int limit) throws FileNotFoundException {
    throw new FileNotFoundException(location);
  }

  @Override
  public List<String> list(String folder) {
    return List.of();
  }

  @Override
  public boolean exists(String location) {
    return false;
  }

  @Override
  public boolean isFolder(String location) {
    return false;
  }

  @Override
  public void delete(String location) {}
}
