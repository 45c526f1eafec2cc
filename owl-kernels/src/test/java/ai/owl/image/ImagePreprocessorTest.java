package ai.owl.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.oracle.Fixture;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImagePreprocessorTest {
  /** Against pixel_values of the ViTImageProcessor of transformers, with Pillow. */
  @Test
  void givesThePixelsThatTransformersGives() throws IOException {
    Path folder = GoldenPictures.FOLDER.resolve("vit-bf16");
    ImagePreprocessor preprocessor =
        ImagePreprocessor.open(new LocalStorage(), folder.resolve("model").toString());
    assertThat(preprocessor.mean()).containsExactly(0.5f, 0.4f, 0.3f);
    assertThat(preprocessor.std()).containsExactly(0.5f, 0.25f, 0.3f);
    float[] expected =
        Fixture.values(
            Fixture.tensor(folder.resolve("expected/pixels.safetensors"), "pixel_values"));
    List<Path> files;
    try (Stream<Path> all = Files.walk(folder.resolve("images"))) {
      files = all.filter(Files::isRegularFile).sorted().limit(3).toList();
    }
    int at = 0;
    for (Path file : files) {
      RgbImage image = RgbImage.decode(Files.readAllBytes(file), file.toString());
      for (float pixel : preprocessor.pixels(image, file.toString())) {
        assertThat(pixel).as("%s, value %d", file, at).isEqualTo(expected[at++]);
      }
    }
    assertThat(at).isEqualTo(expected.length);
  }

  @Test
  void knowsTheDefaultsOfItsClass() {
    ImagePreprocessor preprocessor = parse("{}");
    assertThat(preprocessor)
        .isEqualTo(
            new ImagePreprocessor(
                true,
                224,
                224,
                Resampling.BILINEAR,
                1.0 / 255,
                List.of(0.5f, 0.5f, 0.5f),
                List.of(0.5f, 0.5f, 0.5f)));
  }

  @Test
  void readsOldAndNewSizes() {
    assertThat(parse("{\"size\": 384}").height()).isEqualTo(384);
    assertThat(parse("{\"size\": 384}").width()).isEqualTo(384);
    ImagePreprocessor oblong = parse("{\"size\": {\"height\": 96, \"width\": 128}}");
    assertThat(oblong.height()).isEqualTo(96);
    assertThat(oblong.width()).isEqualTo(128);
  }

  @Test
  void readsItsSwitches() throws IOException {
    ImagePreprocessor plain =
        parse("{\"do_rescale\": false, \"do_normalize\": false, \"size\": 37, \"resample\": 3}");
    assertThat(plain.resampling()).isEqualTo(Resampling.BICUBIC);
    RgbImage picture = GoldenPictures.decode("rgb.png");
    ImagePreprocessor asIs =
        parse(
            "{\"do_rescale\": false, \"do_normalize\": false, \"do_resize\": false,"
                + " \"size\": {\"height\": 23, \"width\": 37}}");
    float[] pixels = asIs.pixels(picture, "rgb.png");
    assertThat(pixels).hasSize(3 * 23 * 37);
    // Channel after channel.
    assertThat(pixels[23 * 37 + 5 * 37 + 7]).isEqualTo(picture.sample(7, 5, 1));
    float[] halved =
        parse(
                "{\"rescale_factor\": 0.5, \"image_mean\": 1, \"image_std\": [2, 2, 4],"
                    + " \"do_resize\": false, \"size\": {\"height\": 23, \"width\": 37}}")
            .pixels(picture, "rgb.png");
    assertThat(halved[0]).isEqualTo((picture.sample(0, 0, 0) * 0.5f - 1) / 2);
    assertThat(halved[2 * 23 * 37]).isEqualTo((picture.sample(0, 0, 2) * 0.5f - 1) / 4);
  }

  @Test
  void refusesAnotherSizeWhereItMayNotResize() throws IOException {
    RgbImage picture = GoldenPictures.decode("rgb.png");
    assertThatThrownBy(() -> parse("{\"do_resize\": false}").pixels(picture, "cat.png"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use image cat.png: it has 23 x 37 pixels, and do_resize is false for a model of"
                + " 224 x 224");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[] | it is not a JSON object",
        "{\"image_processor_type\": \"CLIPImageProcessor\"} | image_processor_type CLIPImageProces",
        "{\"feature_extractor_type\": \"DeiTFeatureExtractor\"} | feature_extractor_type DeiTFeat",
        "{\"do_center_crop\": true} | do_center_crop is not supported",
        "{\"do_pad\": true} | do_pad is not supported",
        "{\"do_resize\": 1} | do_resize is 1, not true or false",
        "{\"size\": {\"shortest_edge\": 224}} | is not supported; supported are height and width",
        "{\"size\": 0} | size is 0, not a number of pixels",
        "{\"size\": 100000} | size is 100000, not a number of pixels",
        "{\"size\": {\"height\": 2, \"width\": \"2\"}} | not a number of pixels",
        "{\"resample\": 0} | resample 0 is not supported; supported are 1 (Lanczos), 2 (bilinear)",
        "{\"resample\": \"2\"} | resample is \"2\", not a number",
        "{\"rescale_factor\": \"x\"} | rescale_factor is \"x\", not a number",
        "{\"image_mean\": [0.5]} | image_mean has 1 numbers; images have 3 channels",
        "{\"image_std\": [1, 0, 1]} | image_std is [1,0,1]: an image cannot be divided by that",
        "{\"image_mean\": [1, null, \"a\"]} | image_mean is [1,null,\"a\"], not a number",
      })
  void refusesByName(String text, String why) {
    assertThatThrownBy(() -> parse(text))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageStartingWith("Cannot use preprocessor_config.json: ")
        .hasMessageContaining(why);
  }

  @Test
  void namesTheFileThatIsMissingOrBroken() throws IOException {
    MemoryStorage storage = new MemoryStorage();
    assertThatThrownBy(() -> ImagePreprocessor.open(storage, "model"))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining("there is no preprocessor_config.json in it");
    storage.writeAll("model/preprocessor_config.json", "{".getBytes(StandardCharsets.UTF_8));
    assertThatThrownBy(() -> ImagePreprocessor.open(storage, "model"))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageStartingWith("Cannot use model/preprocessor_config.json: Unexpected end");
  }

  private static ImagePreprocessor parse(String text) {
    return ImagePreprocessor.parse(json(text), "preprocessor_config.json");
  }

  private static JsonNode json(String text) {
    try {
      return new ObjectMapper().readTree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(text, e);
    }
  }
}
