package ai.owl.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.image.ImageFolder.LabelledImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageFolderTest {
  private static final List<String> LABELS = List.of("zebra", "cat", "owl");

  @TempDir Path folder;

  @Test
  void takesTheLabelsFromTheNamesOfSubFolders() throws IOException {
    write(
        "owl/b.png",
        "owl/a.JPEG",
        "cat/deep/er/c.jpg",
        "owl/notes.txt",
        ".git/d.png",
        "cat/.e.png");
    assertThat(open())
        .containsExactly(
            image("cat/deep/er/c.jpg", 1), image("owl/a.JPEG", 2), image("owl/b.png", 2));
  }

  /** Alphabetically, 10 would come before 2. */
  @Test
  void takesTheNumbersOfLabelsForWhatTheyAre() throws IOException {
    write("2/a.png", "0/b.png");
    assertThat(open()).containsExactly(image("0/b.png", 0), image("2/a.png", 2));
    List<String> eleven = List.of("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k");
    write("10/c.png");
    assertThat(open(eleven))
        .containsExactly(image("0/b.png", 0), image("10/c.png", 10), image("2/a.png", 2));
  }

  /** As torchvision's ImageFolder, for the numbers that ImageNet has for its labels. */
  @Test
  void countsSubFoldersOfOtherNamesInTheirOrder() throws IOException {
    write("n02/a.png", "n01/b.png", "n30/c.png");
    assertThat(open())
        .containsExactly(image("n01/b.png", 0), image("n02/a.png", 1), image("n30/c.png", 2));
    write("n31/d.png");
    assertThatThrownBy(this::open)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use the images in "
                + folder
                + ": sub-folder n01 is none of the model's labels (zebra, cat, owl), and there are 4"
                + " sub-folders for 3 labels");
  }

  @Test
  void readsTheLabelsThatMetadataGives() throws IOException {
    write("a.png", "b.png", "c.png");
    Files.writeString(
        folder.resolve("metadata.jsonl"),
        """
        {"file_name": "c.png", "label": 0}

        {"file_name": "a.png", "label": "owl", "text": "more"}
        """);
    assertThat(open()).containsExactly(image("c.png", 0), image("a.png", 2));
  }

  @Test
  void doesWithoutLabels() throws IOException {
    write("b.png", "a.png", "readme.md");
    assertThat(open())
        .containsExactly(
            image("a.png", ImageFolder.NO_LABEL), image("b.png", ImageFolder.NO_LABEL));
  }

  @Test
  void refusesMetadataThatIsWrong() throws IOException {
    write("a.png");
    refuses("{\"file_name\": \"a.png\", \"label\": 3}", "label 3, which is none of the model's 3");
    refuses("{\"file_name\": \"a.png\", \"label\": -1}", "gives a.png the label -1, which is");
    refuses("{\"file_name\": \"a.png\", \"label\": \"dog\"}", "the label \"dog\", which is none");
    refuses("{\"file_name\": \"a.png\"}", "metadata.jsonl has no file_name or no label in line 1");
    refuses("\n{\"label\": 1}", "metadata.jsonl has no file_name or no label in line 2");
    refuses("file_name,label", "metadata.jsonl has no JSON in line 1");
    refuses(
        "{\"file_name\": \"a.txt\", \"label\": 1}", "names a.txt in line 1: no image, or again");
    String twice = "{\"file_name\": \"a.png\", \"label\": 1}";
    refuses(twice + "\n" + twice, "names a.png in line 2: no image, or again");
  }

  private void refuses(String metadata, String why) throws IOException {
    Files.writeString(folder.resolve("metadata.jsonl"), metadata);
    assertThatThrownBy(this::open)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot use the images in " + folder + ": metadata.jsonl ")
        .hasMessageContaining(why);
  }

  @Test
  void refusesAMixtureOfLayouts() throws IOException {
    write("a.png", "cat/b.png");
    assertThatThrownBy(this::open)
        .hasMessageContaining("there are both images and sub-folders in it");
  }

  @Test
  void refusesFormatsThatItWouldOtherwiseLeaveOut() throws IOException {
    write("cat/a.png", "cat/b.webp");
    assertThatThrownBy(this::open)
        .hasMessageContaining("b.webp is of a format that is not supported; supported are .png");
  }

  @Test
  void refusesAFolderWithoutImages() throws IOException {
    assertThatThrownBy(this::open).hasMessageContaining("there is no image in it (.png, .jpg,");
    write("cat/notes.txt");
    assertThatThrownBy(this::open).hasMessageContaining("there is no image in it");
  }

  private void write(String... names) throws IOException {
    for (String name : names) {
      Files.createDirectories(folder.resolve(name).getParent());
      Files.createFile(folder.resolve(name));
    }
  }

  private LabelledImage image(String name, int label) {
    return new LabelledImage(folder + "/" + name, label);
  }

  private List<LabelledImage> open() throws IOException {
    return open(LABELS);
  }

  private List<LabelledImage> open(List<String> labels) throws IOException {
    return ImageFolder.open(new LocalStorage(), folder.toString(), labels).images();
  }
}
