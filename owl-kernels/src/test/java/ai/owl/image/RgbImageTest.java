package ai.owl.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Against {@code Image.open(file).convert("RGB")} of Pillow. */
class RgbImageTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "rgb.png",
        "rgb.bmp",
        "grey.png",
        "black-and-white.png",
        "palette.png",
        "alpha.png",
        "grey-alpha.png"
      })
  void findsTheSamplesThatPillowFinds(String name) throws IOException {
    RgbImage image = GoldenPictures.decode(name);
    assertThat(image.width()).isEqualTo(37);
    assertThat(image.height()).isEqualTo(23);
    assertThat(GoldenPictures.samples(image)).isEqualTo(GoldenPictures.expected(name));
  }

  /** JPEG leaves rounding to its decoders: Pillow has libjpeg-turbo, Java the library of 1998. */
  @ParameterizedTest
  @CsvSource({"444.jpg, 2, 0.3", "420.jpg, 2, 0.3", "grey.jpg, 1, 0.1"})
  void isCloseToPillowsJpeg(String name, int most, double mean) throws IOException {
    byte[] found = GoldenPictures.samples(GoldenPictures.decode(name));
    byte[] expected = GoldenPictures.expected(name);
    assertThat(found).hasSameSizeAs(expected);
    double sum = 0;
    for (int i = 0; i < found.length; i++) {
      int apart = Math.abs((found[i] & 0xff) - (expected[i] & 0xff));
      assertThat(apart).as("%s, sample %d", name, i).isLessThanOrEqualTo(most);
      sum += apart;
    }
    assertThat(sum / found.length).isLessThan(mean);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "16-bit.png | its samples have more than 8 bits",
        "cmyk.jpg | its colours are neither RGB nor grey (CMYK, maybe): convert it",
      })
  void refusesPixelsThatItCannotTakeAsTheyAre(String name, String why) {
    assertThatThrownBy(() -> GoldenPictures.decode(name))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot read image " + name + ": " + why);
  }

  @Test
  void refusesWhatIsNoPicture() {
    for (byte[] file : new byte[][] {{}, {1, 2, 3}, "\u0089PNG".getBytes()}) {
      assertThatThrownBy(() -> RgbImage.decode(file, "s3://images/cat.png"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("Cannot read image s3://images/cat.png: it is no PNG, JPEG or BMP file");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"rgb.png", "rgb.bmp", "444.jpg"})
  void refusesATornFile(String name) throws IOException {
    byte[] whole = Files.readAllBytes(GoldenPictures.FOLDER.resolve("pictures").resolve(name));
    for (int length : new int[] {30, 60, 200, whole.length / 2}) {
      assertThatThrownBy(() -> RgbImage.decode(Arrays.copyOf(whole, length), name))
          .as("%d of %d bytes", length, whole.length)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("Cannot read image " + name + ": ");
    }
  }
}
