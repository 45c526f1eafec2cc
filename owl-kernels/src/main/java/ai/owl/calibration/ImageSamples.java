package ai.owl.calibration;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.image.ImageFolder;
import ai.owl.image.ImageFolder.LabelledImage;
import ai.owl.image.ImagePreprocessor;
import ai.owl.image.RgbImage;
import ai.owl.model.ModelLayout;
import ai.owl.model.PatchEmbedding;
import ai.owl.model.PatchGrid;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/**
 * Images of a folder, by their addresses: whoever embeds one reads its file.
 *
 * @param storage where the images lie
 */
public record ImageSamples(Storage storage, ImageFolder folder, ImagePreprocessor preprocessor)
    implements Samples {
  private static final int MAX_FILE = 1 << 28;

  @Override
  public int count() {
    return folder.images().size();
  }

  @Override
  public String digest() throws IOException {
    try {
      MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
      sha256.update(preprocessor.toString().getBytes(StandardCharsets.UTF_8));
      for (LabelledImage image : folder.images()) {
        // Of each file's own digest, so that no byte can move from one file to the next unseen.
        sha256.update(
            MessageDigest.getInstance("SHA-256")
                .digest(storage.readAll(image.location(), MAX_FILE)));
      }
      return HexFormat.of().formatHex(sha256.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  @Override
  public List<Matrix> embed(ModelLayout model, int first, int end, TensorReader reader)
      throws IOException {
    requireFit(model);
    List<Matrix> hidden = new ArrayList<>();
    try (PatchEmbedding embedding = PatchEmbedding.load(model, reader)) {
      for (LabelledImage image : folder.images().subList(first, end)) {
        byte[] file = storage.readAll(image.location(), MAX_FILE);
        RgbImage decoded = RgbImage.decode(file, image.location());
        hidden.add(embedding.embed(preprocessor.pixels(decoded, image.location())));
      }
      return hidden;
    } catch (IOException | RuntimeException | Error e) {
      hidden.forEach(Matrix::close);
      throw e;
    }
  }

  /** The size that images are brought to is the one that the model was made for. */
  private void requireFit(ModelLayout model) {
    for (PatchGrid grid : model.config().patches()) {
      if (grid.imageHeight() != preprocessor.height()
          || grid.imageWidth() != preprocessor.width()
          || grid.channels() != 3) {
        throw new MalformedCheckpointException(
            "Cannot give the model images of 3 x "
                + preprocessor.height()
                + " x "
                + preprocessor.width()
                + " (size, "
                + ImagePreprocessor.FILE
                + "): it takes "
                + grid.channels()
                + " x "
                + grid.imageHeight()
                + " x "
                + grid.imageWidth()
                + " (num_channels, image_size, config.json)");
      }
    }
  }
}
