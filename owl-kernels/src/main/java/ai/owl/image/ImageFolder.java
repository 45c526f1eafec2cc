package ai.owl.image;

import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Images with their labels, in a fixed order. Two layouts are known:
 *
 * <ul>
 *   <li>a sub-folder for each label (torchvision's ImageFolder, and the imagefolder of Hugging
 *       Face's datasets). Sub-folders are named as the model names its labels, or are the labels'
 *       numbers; if they are neither, and there are as many as the model has labels, they stand for
 *       these in alphabetical order, as torchvision counts them.
 *   <li>images beside a {@code metadata.jsonl} with {@code file_name} and {@code label} in every
 *       line; or without one, for uses that need no labels.
 * </ul>
 *
 * @param images sorted by location
 */
public record ImageFolder(List<LabelledImage> images) implements Serializable {
  /** The label of an image that has none. */
  public static final int NO_LABEL = -1;

  /** Names the labels of the images beside it. */
  public static final String METADATA = "metadata.jsonl";

  private static final int MAX_METADATA = 1 << 28;
  private static final List<String> READ = List.of(".png", ".jpg", ".jpeg", ".bmp");
  private static final List<String> NOT_READ =
      List.of(".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif");

  /**
   * The address of an image.
   *
   * @param label index among the model's labels, or {@link #NO_LABEL}
   */
  public record LabelledImage(String location, int label) implements Serializable {}

  public ImageFolder {
    images = List.copyOf(images);
  }

  /**
   * Lists a folder.
   *
   * @param labels the names of the model's labels
   * @throws IllegalArgumentException if there is no image in it, or one whose label is none of the
   *     model's
   */
  public static ImageFolder open(Storage storage, String folder, List<String> labels)
      throws IOException {
    return new Finder(storage, folder, labels).find();
  }

  private record Finder(Storage storage, String folder, List<String> labels) {
    ImageFolder find() throws IOException {
      List<String> classes = new ArrayList<>();
      List<String> files = new ArrayList<>();
      boolean hasMetadata = false;
      for (String name : storage.list(folder)) {
        String location = Storage.resolve(folder, name);
        if (name.startsWith(".")) {
          continue;
        }
        hasMetadata |= name.equals(METADATA);
        if (isImage(location)) {
          files.add(name);
        } else if (storage.isFolder(location)) {
          classes.add(name);
        }
      }
      List<LabelledImage> images = new ArrayList<>();
      if (!files.isEmpty() && !classes.isEmpty()) {
        throw refused(
            "there are both images and sub-folders in it: keep the images in a sub-folder for each"
                + " label, or all of them in one folder with "
                + METADATA);
      }
      if (hasMetadata) {
        metadata().forEach((file, label) -> images.add(image(file, label)));
      } else if (!files.isEmpty()) {
        files.forEach(file -> images.add(new LabelledImage(location(file), NO_LABEL)));
      } else {
        Map<String, Integer> indices = indices(classes);
        for (String name : classes) {
          for (String location : within(location(name))) {
            images.add(new LabelledImage(location, indices.get(name)));
          }
        }
      }
      if (images.isEmpty()) {
        throw refused("there is no image in it (" + String.join(", ", READ) + ")");
      }
      return new ImageFolder(images);
    }

    private String location(String name) {
      return Storage.resolve(folder, name);
    }

    private LabelledImage image(String file, JsonNode label) {
      int index = label.isInt() ? label.intValue() : labels.indexOf(label.asText());
      if (index < 0 || index >= labels.size()) {
        throw refused(
            METADATA
                + " gives "
                + file
                + " the label "
                + label
                + ", which is none of the model's "
                + labels.size());
      }
      return new LabelledImage(location(file), index);
    }

    private Map<String, JsonNode> metadata() throws IOException {
      Map<String, JsonNode> found = new LinkedHashMap<>();
      String text =
          new String(storage.readAll(location(METADATA), MAX_METADATA), StandardCharsets.UTF_8);
      int number = 0;
      for (String line : text.split("\n")) {
        number++;
        if (line.isBlank()) {
          continue;
        }
        JsonNode json;
        try {
          json = new ObjectMapper().readTree(line);
        } catch (JacksonException e) {
          throw refused(METADATA + " has no JSON in line " + number);
        }
        if (!json.path("file_name").isTextual() || !json.hasNonNull("label")) {
          throw refused(METADATA + " has no file_name or no label in line " + number);
        }
        String file = json.get("file_name").asText();
        if (!isImage(file) || found.put(file, json.get("label")) != null) {
          throw refused(
              METADATA + " names " + file + " in line " + number + ": no image, or again");
        }
      }
      return found;
    }

    /** Each sub-folder's label. */
    private Map<String, Integer> indices(List<String> classes) {
      Map<String, Integer> indices = new LinkedHashMap<>();
      boolean named = labels.containsAll(classes);
      boolean numbered = classes.stream().allMatch(this::isNumberOfALabel);
      if (!named && !numbered && classes.size() != labels.size()) {
        String odd = classes.stream().filter(name -> !labels.contains(name)).findFirst().orElse("");
        throw refused(
            "sub-folder "
                + odd
                + " is none of the model's labels ("
                + String.join(", ", labels.subList(0, Math.min(3, labels.size())))
                + (labels.size() > 3 ? ", …" : "")
                + "), and there are "
                + classes.size()
                + " sub-folders for "
                + labels.size()
                + " labels");
      }
      for (int i = 0; i < classes.size(); i++) {
        String name = classes.get(i);
        indices.put(name, named ? labels.indexOf(name) : numbered ? Integer.parseInt(name) : i);
      }
      return indices;
    }

    private boolean isNumberOfALabel(String name) {
      return name.matches("0|[1-9][0-9]{0,6}") && Integer.parseInt(name) < labels.size();
    }

    private List<String> within(String location) throws IOException {
      List<String> images = new ArrayList<>();
      for (String name : storage.list(location)) {
        String inside = Storage.resolve(location, name);
        if (name.startsWith(".")) {
          continue;
        }
        if (isImage(inside)) {
          images.add(inside);
        } else if (storage.isFolder(inside)) {
          images.addAll(within(inside));
        }
      }
      return images;
    }

    private boolean isImage(String location) {
      String name = location.toLowerCase(Locale.ROOT);
      if (NOT_READ.stream().anyMatch(name::endsWith)) {
        throw refused(
            Storage.name(location)
                + " is of a format that is not supported; supported are "
                + String.join(", ", READ));
      }
      return READ.stream().anyMatch(name::endsWith);
    }

    private IllegalArgumentException refused(String why) {
      return new IllegalArgumentException("Cannot use the images in " + folder + ": " + why);
    }
  }
}
