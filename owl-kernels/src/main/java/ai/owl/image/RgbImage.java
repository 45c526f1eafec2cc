package ai.owl.image;

import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;

/**
 * A picture of red, green and blue samples of 8 bits, (height, width, 3).
 *
 * <p>Decoding gives what {@code Image.open(file).convert("RGB")} of Pillow gives: grey becomes
 * three equal channels, transparency is dropped, and neither colour profiles nor EXIF orientation
 * are looked at.
 */
public final class RgbImage {
  /** More than this is a mistake, or an attack on memory. */
  private static final long MAX_PIXELS = 1 << 27;

  static {
    ImageIO.setUseCache(false); // pictures are in memory already; no files for their sake
  }

  private final int width;
  private final int height;
  private final byte[] samples;

  private RgbImage(int width, int height, byte[] samples) {
    this.width = width;
    this.height = height;
    this.samples = samples;
  }

  /**
   * Decodes a PNG, JPEG or BMP file.
   *
   * @param location where it came from, for messages
   * @throws IllegalArgumentException if it is none, is damaged, or has a kind of pixels that is not
   *     supported
   */
  public static RgbImage decode(byte[] file, String location) {
    try (ImageInputStream in = ImageIO.createImageInputStream(new ByteArrayInputStream(file))) {
      Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
      if (!readers.hasNext()) {
        throw refused(location, "it is no PNG, JPEG or BMP file", null);
      }
      ImageReader reader = readers.next();
      try {
        reader.setInput(in, true, true);
        long pixels = (long) reader.getWidth(0) * reader.getHeight(0);
        if (pixels > MAX_PIXELS) {
          throw refused(location, "its " + pixels + " pixels are more than " + MAX_PIXELS, null);
        }
        // The decoder of JPEG fills up with grey what is missing, and merely warns.
        List<String> torn = new ArrayList<>();
        reader.addIIOReadWarningListener(
            (source, warning) -> {
              if (warning.startsWith("Truncated")) {
                torn.add(warning);
              }
            });
        RgbImage image = of(reader.read(0), location);
        if (!torn.isEmpty()) {
          throw refused(location, "the file is incomplete", null);
        }
        return image;
      } finally {
        reader.dispose();
      }
    } catch (IOException | IndexOutOfBoundsException e) {
      throw refused(location, e.getMessage(), e);
    }
  }

  /**
   * Takes samples as they are stored: ImageIO's own conversion to RGB would apply colour profiles,
   * and makes another grey of grey.
   */
  private static RgbImage of(BufferedImage image, String location) {
    int width = image.getWidth();
    int height = image.getHeight();
    byte[] samples = new byte[Math.multiplyExact(3 * width, height)];
    Raster raster = image.getRaster();
    boolean isIndexed = image.getColorModel() instanceof IndexColorModel;
    if (!isIndexed && raster.getDataBuffer().getDataType() != DataBuffer.TYPE_BYTE) {
      throw refused(location, "its samples have more than 8 bits", null);
    }
    int space = image.getColorModel().getColorSpace().getType();
    if (space != ColorSpace.TYPE_RGB && space != ColorSpace.TYPE_GRAY) {
      throw refused(
          location, "its colours are neither RGB nor grey (CMYK, maybe): convert it", null);
    }
    int bands = raster.getNumBands();
    int[] row = new int[width * bands];
    for (int y = 0; y < height; y++) {
      raster.getPixels(0, y, width, 1, row);
      for (int x = 0; x < width; x++) {
        int at = 3 * (y * width + x);
        if (isIndexed) {
          int rgb = image.getColorModel().getRGB(row[x]);
          samples[at] = (byte) (rgb >> 16);
          samples[at + 1] = (byte) (rgb >> 8);
          samples[at + 2] = (byte) rgb;
        } else {
          for (int channel = 0; channel < 3; channel++) {
            samples[at + channel] = (byte) row[x * bands + (bands < 3 ? 0 : channel)];
          }
        }
      }
    }
    return new RgbImage(width, height, samples);
  }

  private static IllegalArgumentException refused(String location, String why, Exception cause) {
    return new IllegalArgumentException("Cannot read image " + location + ": " + why, cause);
  }

  public int width() {
    return width;
  }

  public int height() {
    return height;
  }

  /** The picture at another size. */
  public RgbImage resize(Resampling filter, int newWidth, int newHeight) {
    return new RgbImage(
        newWidth, newHeight, filter.resize(samples, width, height, newWidth, newHeight));
  }

  /** A sample, 0 to 255. */
  public int sample(int x, int y, int channel) {
    return samples[3 * (y * width + x) + channel] & 0xff;
  }
}
