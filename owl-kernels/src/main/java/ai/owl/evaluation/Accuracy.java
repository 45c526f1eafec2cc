package ai.owl.evaluation;

/**
 * Top-1 accuracy: the share of images whose likeliest label is theirs.
 *
 * @param correct number of images that got their label
 * @param images number of images
 */
public record Accuracy(int correct, int images) implements Quality {
  public Accuracy {
    if (images < 1 || correct < 0 || correct > images) {
      throw new IllegalArgumentException(
          "Cannot have " + correct + " of " + images + " images right");
    }
  }

  @Override
  public String name() {
    return "accuracy";
  }

  @Override
  public String basis() {
    return "over " + images + " images";
  }

  /** In [0, 1]. */
  @Override
  public double value() {
    return (double) correct / images;
  }
}
