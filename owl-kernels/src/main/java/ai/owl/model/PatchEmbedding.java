package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.kernel.Blas;
import ai.owl.tensor.Matrix;
import java.io.IOException;

/**
 * Turns images into the hidden states that enter the first block of a vision transformer (arXiv
 * 2010.11929, equation 1): {@code h_0 = class token + positions_0}, {@code h_t = projection ·
 * patch_t + bias + positions_t}. Holds the weights, which are small. Not for use by several threads
 * at once.
 */
public final class PatchEmbedding implements AutoCloseable {
  private final PatchGrid grid;
  private final float[] bias; // (hidden)
  private final Matrix projection; // (hidden, patch values)
  private final Matrix
      added; // (1 + patches, hidden): to the class token's place, and to each patch
  private final Matrix patches; // (patches, patch values)

  private PatchEmbedding(ModelLayout model, TensorReader reader) throws IOException {
    grid = model.config().patches().get(0);
    bias = reader.readVector(part(model, ModelPart.PATCH_BIAS));
    projection = reader.readMatrix(part(model, ModelPart.PATCH_PROJECTION));
    Matrix positions = null;
    try (Matrix classToken = reader.readMatrix(part(model, ModelPart.CLASS_TOKEN))) {
      positions = reader.readMatrix(part(model, ModelPart.POSITION_EMBEDDING));
      add(classToken.toArray(), positions.rows(0, 1));
      patches = new Matrix(grid.patches(), grid.patchValues());
    } catch (IOException | RuntimeException | Error e) {
      projection.close();
      if (positions != null) {
        positions.close();
      }
      throw e;
    }
    added = positions;
  }

  /**
   * Reads the weights.
   *
   * @throws IllegalArgumentException if the model reads something else than images
   */
  public static PatchEmbedding load(ModelLayout model, TensorReader reader) throws IOException {
    if (!model.config().readsImages()) {
      throw new IllegalArgumentException(
          "Cannot run images through "
              + model.config().architecture().className()
              + ": it reads token ids; give it text");
    }
    return new PatchEmbedding(model, reader);
  }

  private static TensorRef part(ModelLayout model, ModelPart part) {
    return model.part(part).orElseThrow();
  }

  /**
   * The embedding of an image.
   *
   * @param image pixels, (channels, height, width), scaled and normalized
   * @return (1 + patches, hidden), the caller's to close
   */
  public Matrix embed(float[] image) {
    if (image.length != grid.imageValues()) {
      throw new IllegalArgumentException(
          "Cannot embed an image of "
              + image.length
              + " values: the model takes "
              + grid.channels()
              + " x "
              + grid.imageHeight()
              + " x "
              + grid.imageWidth()
              + " (num_channels, image_size)");
    }
    cut(image);
    Matrix hidden = new Matrix(added.rows(), added.cols());
    hidden.setRow(0, new float[added.cols()]);
    Matrix ofPatches = hidden.rows(1, grid.patches());
    Blas.linear(patches, projection, 0f, ofPatches);
    add(bias, ofPatches);
    float[] row = new float[added.cols()];
    for (long t = 0; t < hidden.rows(); t++) {
      added.row(t, row);
      add(row, hidden.rows(t, 1));
    }
    return hidden;
  }

  /** A patch a row; in it, channel after channel, and in those, line after line. */
  private void cut(float[] image) {
    int width = grid.patchWidth();
    float[] row = new float[grid.patchValues()];
    for (int patch = 0; patch < grid.patches(); patch++) {
      int top = patch / grid.columns() * grid.patchHeight();
      int left = patch % grid.columns() * width;
      int at = 0;
      for (int channel = 0; channel < grid.channels(); channel++) {
        for (int y = 0; y < grid.patchHeight(); y++, at += width) {
          int line = channel * grid.imageHeight() + top + y;
          System.arraycopy(image, line * grid.imageWidth() + left, row, at, width);
        }
      }
      patches.setRow(patch, row);
    }
  }

  /** Adds a vector to every row. */
  private static void add(float[] vector, Matrix rows) {
    float[] row = new float[vector.length];
    for (long r = 0; r < rows.rows(); r++) {
      rows.row(r, row);
      for (int j = 0; j < row.length; j++) {
        row[j] += vector[j];
      }
      rows.setRow(r, row);
    }
  }

  @Override
  public void close() {
    projection.close();
    added.close();
    patches.close();
  }
}
