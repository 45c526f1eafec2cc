package ai.owl.model;

import java.io.Serializable;

/**
 * How an image is cut into patches, row by row from its top left corner; what is left over at the
 * right and the bottom is not looked at.
 *
 * @param channels colours of a pixel
 */
public record PatchGrid(
    int imageHeight, int imageWidth, int patchHeight, int patchWidth, int channels)
    implements Serializable {
  int rows() {
    return imageHeight / patchHeight;
  }

  int columns() {
    return imageWidth / patchWidth;
  }

  /** Number of patches. */
  public int patches() {
    return Math.multiplyExact(rows(), columns());
  }

  /** Number of values in a patch. */
  public int patchValues() {
    return channels * patchHeight * patchWidth;
  }

  /** Number of values in an image. */
  public int imageValues() {
    return channels * imageHeight * imageWidth;
  }
}
