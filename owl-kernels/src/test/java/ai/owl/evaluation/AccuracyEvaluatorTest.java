package ai.owl.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.calibration.ImageSamples;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.image.ImageFolder;
import ai.owl.image.ImageFolder.LabelledImage;
import ai.owl.image.ImagePreprocessor;
import ai.owl.model.ModelLayout;
import ai.owl.model.SampleModel;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What it measures is held against transformers in VisionOracleTest. */
class AccuracyEvaluatorTest {
  private static final String PICTURES =
      Path.of(System.getProperty("owl.golden")).resolveSibling("golden-images/pictures").toString();

  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void isAShare() {
    assertThat(new Accuracy(3, 4).value()).isEqualTo(0.75);
    assertThat(new Accuracy(0, 1).value()).isZero();
  }

  @ParameterizedTest
  @CsvSource({"-1, 1", "2, 1", "0, 0"})
  void refusesWhatIsNoShare(int correct, int images) {
    assertThatThrownBy(() -> new Accuracy(correct, images))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot have " + correct + " of " + images + " images right");
  }

  /** With no weights but one label's bias, every image gets that label. */
  @Test
  void countsTheImagesThatGetTheirLabel() throws IOException {
    SampleModel vit = SampleModel.vit();
    Arrays.fill(vit.values("classifier.weight"), 0f);
    vit.values("classifier.bias")[3] = 9;
    assertThat(evaluate(vit, samples(3, 1, 3))).isEqualTo(new Accuracy(2, 3));
  }

  @Test
  void refusesImagesWithoutLabels() {
    assertThatThrownBy(() -> evaluate(SampleModel.vit(), samples(1, ImageFolder.NO_LABEL)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("Cannot measure accuracy: image " + PICTURES)
        .hasMessageContaining("has no label");
  }

  @Test
  void refusesLogitsThatAreNoNumbers() {
    SampleModel vit = SampleModel.vit();
    Arrays.fill(vit.values("classifier.weight"), 3e38f);
    assertThatThrownBy(() -> evaluate(vit, samples(1)))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining("are not finite; the checkpoint overflows float32");
  }

  @Test
  void refusesAPreprocessorOfAnotherSize() throws IOException {
    ImageSamples large =
        new ImageSamples(new LocalStorage(), samples(1).folder(), preprocessor("{\"size\": 24}"));
    assertThatThrownBy(() -> evaluate(SampleModel.vit(), large))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessage(
            "Cannot give the model images of 3 x 24 x 24 (size, preprocessor_config.json): it takes"
                + " 3 x 7 x 9 (num_channels, image_size, config.json)");
  }

  @Test
  void namesSamplesByTheirContent() throws IOException {
    String digest = samples(1, 2).digest();
    assertThat(samples(1, 3).digest()).as("labels are not shown").isEqualTo(digest);
    assertThat(samples(1, 2, 2).digest()).isNotEqualTo(digest);
    assertThat(
            new ImageSamples(
                    new LocalStorage(), samples(1, 2).folder(), preprocessor("{\"resample\": 3}"))
                .digest())
        .isNotEqualTo(digest);
  }

  private Accuracy evaluate(SampleModel vit, ImageSamples samples) throws IOException {
    ModelLayout model = vit.layout(storage);
    try (TensorReader reader = new TensorReader(storage)) {
      return AccuracyEvaluator.evaluate(model, samples, reader);
    }
  }

  private static ImageSamples samples(int... labels) throws IOException {
    List<String> files = List.of("rgb.png", "grey.png", "palette.png");
    List<LabelledImage> images = new ArrayList<>();
    for (int i = 0; i < labels.length; i++) {
      images.add(new LabelledImage(PICTURES + "/" + files.get(i), labels[i]));
    }
    return new ImageSamples(
        new LocalStorage(),
        new ImageFolder(images),
        preprocessor("{\"size\": {\"height\": 7, \"width\": 9}}"));
  }

  private static ImagePreprocessor preprocessor(String json) throws IOException {
    return ImagePreprocessor.parse(new ObjectMapper().readTree(json), "preprocessor_config.json");
  }
}
