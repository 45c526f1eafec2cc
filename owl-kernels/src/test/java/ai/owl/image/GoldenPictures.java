package ai.owl.image;

import ai.owl.oracle.Fixture;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Files of every kind, and the samples that Pillow finds in them; made by generate.py. */
final class GoldenPictures {
  static final Path FOLDER =
      Path.of(System.getProperty("owl.golden")).resolveSibling("golden-images");

  private GoldenPictures() {}

  static RgbImage decode(String name) throws IOException {
    return RgbImage.decode(Files.readAllBytes(FOLDER.resolve("pictures").resolve(name)), name);
  }

  /** Samples as Pillow has them, (height, width, 3). */
  static byte[] expected(String name) throws IOException {
    return Fixture.bytes(Fixture.tensor(FOLDER.resolve("pictures.safetensors"), name));
  }

  /** All samples of a picture, (height, width, 3). */
  static byte[] samples(RgbImage image) {
    byte[] samples = new byte[3 * image.width() * image.height()];
    for (int i = 0; i < samples.length; i++) {
      samples[i] = (byte) image.sample(i / 3 % image.width(), i / 3 / image.width(), i % 3);
    }
    return samples;
  }
}
