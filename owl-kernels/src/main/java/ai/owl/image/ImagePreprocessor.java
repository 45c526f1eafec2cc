package ai.owl.image;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * What {@code preprocessor_config.json} says is done to an image before a model sees it: {@code
 * (resize(image) · rescaleFactor − mean) / std}, as the ViTImageProcessor of transformers does it
 * with Pillow. (With torchvision in Pillow's place, samples differ by up to 1 of 255.)
 *
 * @param isResized whether images are resized at all; else they have the size already
 * @param rescaleFactor 1 for samples that stay as they are
 * @param mean one number a channel; zeros for none
 * @param std one number a channel; ones for none
 */
public record ImagePreprocessor(
    boolean isResized,
    int height,
    int width,
    Resampling resampling,
    double rescaleFactor,
    List<Float> mean,
    List<Float> std)
    implements Serializable {
  public static final String FILE = "preprocessor_config.json";

  private static final int MAX_FILE = 1 << 20;
  private static final int MAX_SIZE = 1 << 14;

  /** Names under which transformers has had this one. */
  private static final Set<String> TYPES =
      Set.of(
          "ViTImageProcessor",
          "ViTImageProcessorFast",
          "ViTImageProcessorPil",
          "ViTFeatureExtractor");

  public ImagePreprocessor {
    mean = List.copyOf(mean);
    std = List.copyOf(std);
  }

  /** Reads the one of a checkpoint. */
  public static ImagePreprocessor open(Storage storage, String folder) throws IOException {
    String location = Storage.resolve(folder, FILE);
    byte[] json;
    try {
      json = storage.readAll(location, MAX_FILE);
    } catch (FileNotFoundException e) {
      throw new MalformedCheckpointException(
          "Cannot prepare images for model "
              + folder
              + ": there is no "
              + FILE
              + " in it (save_pretrained of the image processor writes one)",
          e);
    }
    try {
      return parse(new ObjectMapper().readTree(json), location);
    } catch (com.fasterxml.jackson.core.JacksonException e) {
      throw new MalformedCheckpointException(
          "Cannot use " + location + ": " + e.getOriginalMessage(), e);
    }
  }

  /**
   * @param source where it came from, for messages
   * @throws MalformedCheckpointException if it asks for something unsupported
   */
  public static ImagePreprocessor parse(JsonNode json, String source) {
    return new Parser(json, source).parse();
  }

  /**
   * The pixels of an image, as the model takes them.
   *
   * @return (3, height, width)
   */
  public float[] pixels(RgbImage image, String location) {
    if (!isResized && (image.width() != width || image.height() != height)) {
      throw new IllegalArgumentException(
          "Cannot use image "
              + location
              + ": it has "
              + image.height()
              + " x "
              + image.width()
              + " pixels, and do_resize is false for a model of "
              + height
              + " x "
              + width);
    }
    RgbImage sized = isResized ? image.resize(resampling, width, height) : image;
    float[] pixels = new float[3 * height * width];
    int at = 0;
    for (int channel = 0; channel < 3; channel++) {
      float[] values = values(channel);
      for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
          pixels[at++] = values[sized.sample(x, y, channel)];
        }
      }
    }
    return pixels;
  }

  /** What becomes of each of the 256 samples there are. */
  private float[] values(int channel) {
    float[] values = new float[256];
    for (int sample = 0; sample < 256; sample++) {
      values[sample] = ((float) (sample * rescaleFactor) - mean.get(channel)) / std.get(channel);
    }
    return values;
  }

  private record Parser(JsonNode json, String source) {
    ImagePreprocessor parse() {
      if (!json.isObject()) {
        throw refuse("it is not a JSON object");
      }
      for (String key : List.of("image_processor_type", "feature_extractor_type")) {
        String type = json.path(key).asText("ViTImageProcessor");
        if (json.hasNonNull(key) && !TYPES.contains(type)) {
          throw refuse(key + " " + type + " is not supported; supported is ViTImageProcessor");
        }
      }
      for (String key : List.of("do_center_crop", "do_pad", "do_thumbnail")) {
        if (flag(key, false)) {
          throw refuse(key + " is not supported");
        }
      }
      int[] size = size();
      boolean normalizes = flag("do_normalize", true);
      return new ImagePreprocessor(
          flag("do_resize", true),
          size[0],
          size[1],
          resampling(),
          flag("do_rescale", true)
              ? number("rescale_factor", json.path("rescale_factor"), 1.0 / 255)
              : 1,
          normalizes ? channels("image_mean") : List.of(0f, 0f, 0f),
          normalizes ? channels("image_std") : List.of(1f, 1f, 1f));
    }

    /** Old files have a number for both. */
    private int[] size() {
      JsonNode size = json.path("size");
      if (size.isMissingNode() || size.isNull()) {
        return new int[] {224, 224};
      }
      if (size.isObject() && !(size.has("height") && size.has("width"))) {
        throw refuse("size " + size + " is not supported; supported are height and width");
      }
      return size.isObject()
          ? new int[] {edge(size.get("height")), edge(size.get("width"))}
          : new int[] {edge(size), edge(size)};
    }

    private int edge(JsonNode node) {
      if (!node.canConvertToInt() || node.intValue() < 1 || node.intValue() > MAX_SIZE) {
        throw refuse("size is " + json.get("size") + ", not a number of pixels");
      }
      return node.intValue();
    }

    private Resampling resampling() {
      int code = (int) number("resample", json.path("resample"), Resampling.BILINEAR.code());
      for (Resampling resampling : Resampling.values()) {
        if (resampling.code() == code) {
          return resampling;
        }
      }
      throw refuse(
          "resample "
              + code
              + " is not supported; supported are 1 (Lanczos), 2 (bilinear), 3 (bicubic), 4 (box),"
              + " 5 (Hamming)");
    }

    private List<Float> channels(String key) {
      JsonNode node = json.path(key);
      List<Float> channels = new ArrayList<>();
      if (node.isArray() && node.size() != 3) {
        throw refuse(key + " has " + node.size() + " numbers; images have 3 channels");
      }
      for (int channel = 0; channel < 3; channel++) {
        double value = number(key, node.isArray() ? node.get(channel) : node, 0.5);
        if (key.equals("image_std") && !(value > 0)) {
          throw refuse(key + " is " + node + ": an image cannot be divided by that");
        }
        channels.add((float) value);
      }
      return channels;
    }

    private double number(String key, JsonNode node, double fallback) {
      if (node.isMissingNode() || node.isNull()) {
        return fallback;
      }
      if (!node.isNumber()) {
        throw refuse(key + " is " + json.get(key) + ", not a number");
      }
      return node.doubleValue();
    }

    private boolean flag(String key, boolean fallback) {
      JsonNode node = json.path(key);
      if (node.isMissingNode() || node.isNull()) {
        return fallback;
      }
      if (!node.isBoolean()) {
        throw refuse(key + " is " + node + ", not true or false");
      }
      return node.booleanValue();
    }

    private MalformedCheckpointException refuse(String why) {
      return new MalformedCheckpointException("Cannot use " + source + ": " + why);
    }
  }
}
