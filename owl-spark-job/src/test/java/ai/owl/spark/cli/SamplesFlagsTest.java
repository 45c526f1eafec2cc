package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.oracle.Fixture;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Texts are for models of text, images for models of images; the message says which is which. */
class SamplesFlagsTest {
  private static final Path IMAGES =
      Path.of(System.getProperty("owl.golden")).resolveSibling("golden-images").resolve("vit-bf16");

  @TempDir Path temporary;

  @Test
  void refusesTextForAModelOfImages() throws Exception {
    Path text = Files.writeString(temporary.resolve("text.txt"), "Once upon a time");
    assertThat(evaluate(IMAGES.resolve("model").toString(), text))
        .contains(
            text + ": it is a file, and ViTForImageClassification reads images; give a folder");
  }

  @Test
  void refusesImagesForAModelOfText() {
    Path images = IMAGES.resolve("images");
    assertThat(evaluate(Fixture.golden("llama3-bf16").model(), images))
        .contains(images + ": it is a folder, and LlamaForCausalLM reads text; give files");
  }

  private static String evaluate(String model, Path data) {
    ByteArrayOutputStream error = new ByteArrayOutputStream();
    PrintStream before = System.err;
    System.setErr(new PrintStream(error, true, StandardCharsets.UTF_8));
    try {
      assertThat(Main.run(new String[] {"evaluate", "--model", model, "--text", data.toString()}))
          .isEqualTo(Main.YOURS);
    } finally {
      System.setErr(before);
    }
    return error.toString(StandardCharsets.UTF_8);
  }
}
