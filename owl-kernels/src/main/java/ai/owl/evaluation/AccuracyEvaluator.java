package ai.owl.evaluation;

import ai.owl.calibration.ImageSamples;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.TensorReader;
import ai.owl.image.ImageFolder;
import ai.owl.image.ImageFolder.LabelledImage;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.ClassificationHead;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.ModelLayout;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.List;

/**
 * Measures the accuracy of an image classifier in this process: groups of images through one block
 * after the other.
 */
public final class AccuracyEvaluator {
  /** What the hidden states of a group may take; every block is read once for each. */
  private static final long GROUP_BYTES = 1 << 30;

  private AccuracyEvaluator() {}

  /** The accuracy of a model over labelled images. */
  public static Accuracy evaluate(ModelLayout model, ImageSamples samples, TensorReader reader)
      throws IOException {
    requireLabels(samples);
    List<LabelledImage> images = samples.folder().images();
    long bytes = (long) Float.BYTES * model.config().maxPositions() * model.config().hiddenSize();
    int group = (int) Math.max(1, GROUP_BYTES / bytes);
    int correct = 0;
    try (ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      for (int first = 0; first < images.size(); first += group) {
        int end = Math.min(images.size(), first + group);
        List<Matrix> hidden = samples.embed(model, first, end, reader);
        try {
          for (BlockLayout layout : model.blocks()) {
            try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
              hidden.forEach(states -> block.advance(states, buffers, ActivationObserver.NONE));
            }
          }
          float[][] logits = ClassificationHead.logits(model, hidden, reader);
          for (int i = first; i < end; i++) {
            correct += likeliest(logits[i - first], images.get(i)) == images.get(i).label() ? 1 : 0;
          }
        } finally {
          hidden.forEach(Matrix::close);
        }
      }
    }
    return new Accuracy(correct, images.size());
  }

  /** Refuses images of which nobody knows what they show. */
  public static void requireLabels(ImageSamples samples) {
    for (LabelledImage image : samples.folder().images()) {
      if (image.label() == ImageFolder.NO_LABEL) {
        throw new IllegalArgumentException(
            "Cannot measure accuracy: image "
                + image.location()
                + " has no label; keep images in a sub-folder for each label, or beside a "
                + ImageFolder.METADATA);
      }
    }
  }

  /** The label with the largest logit, the first of equals. */
  public static int likeliest(float[] logits, LabelledImage image) {
    int best = 0;
    for (int label = 0; label < logits.length; label++) {
      if (!Float.isFinite(logits[label])) {
        throw new MalformedCheckpointException(
            "Cannot measure accuracy: the logits of "
                + image.location()
                + " are not finite; the checkpoint overflows float32, or is damaged");
      }
      best = logits[label] > logits[best] ? label : best;
    }
    return best;
  }
}
