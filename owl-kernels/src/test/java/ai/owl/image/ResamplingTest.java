package ai.owl.image;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.Locale;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Against what Pillow makes of a picture of 37 x 23 pixels. */
class ResamplingTest {
  /** Pillow begins with the columns in the sizes 50 x 10 and 36 x 20 alone. */
  private static final int[][] SIZES = {
    {24, 24}, {37, 10}, {10, 23}, {5, 61}, {1, 1}, {50, 10}, {36, 20}, {36, 21}
  };

  @ParameterizedTest
  @EnumSource
  void givesTheBitsThatPillowGives(Resampling filter) throws IOException {
    RgbImage picture = GoldenPictures.decode("rgb.png");
    for (int[] size : SIZES) {
      String name = filter.name().toLowerCase(Locale.ROOT) + "." + size[0] + "x" + size[1];
      RgbImage resized = picture.resize(filter, size[0], size[1]);
      assertThat(resized.width()).isEqualTo(size[0]);
      assertThat(resized.height()).isEqualTo(size[1]);
      assertThat(GoldenPictures.samples(resized)).as(name).isEqualTo(GoldenPictures.expected(name));
    }
  }

  @ParameterizedTest
  @EnumSource
  void leavesAPictureOfTheRightSizeAlone(Resampling filter) throws IOException {
    RgbImage picture = GoldenPictures.decode("rgb.png");
    assertThat(GoldenPictures.samples(picture.resize(filter, 37, 23)))
        .isEqualTo(GoldenPictures.samples(picture));
  }
}
