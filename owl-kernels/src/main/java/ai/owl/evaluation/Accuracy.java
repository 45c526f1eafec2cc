package ai.owl.evaluation;

/**
 * Top-1 accuracy: the share of images whose likeliest label is theirs.
 *
 * @param correct number of images that got their label
 * @param images number of images
 */
public record Accuracy(int correct, int images) {
  public Accuracy {
    if (images < 1 || correct < 0 || correct > images) {
      throw new IllegalArgumentException(
          "Cannot have " + correct + " of " + images + " images right");
    }
  }

  /** In [0, 1]. */
  public double value() {
    return (double) correct / images;
  }
}
