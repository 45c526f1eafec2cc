package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TextTokenizerTest {
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(strings = {SampleTokenizers.BYTE_LEVEL, SampleTokenizers.BYTE_FALLBACK})
  void givesTheIdsThatPythonGives(String name) {
    try (TextTokenizer tokenizer = SampleTokenizers.load(name)) {
      for (JsonNode text : SampleTokenizers.expected(name).get("texts")) {
        int[] ids = tokenizer.encode(text.get("text").textValue());
        assertThat(ids)
            .as(text.get("case").textValue())
            .containsExactly(SampleTokenizers.ints(text.get("ids")));
        assertThat(tokenizer.decode(ids)).isEqualTo(text.get("decoded").textValue());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {SampleTokenizers.BYTE_LEVEL, SampleTokenizers.BYTE_FALLBACK})
  void tokenizesALongTextInFull(String name) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 28000; i++) {
      text.append("Owl " + i + " counted " + i * 7919L % 10007 + " leaves by the river.\n");
    }
    try (TextTokenizer tokenizer = SampleTokenizers.load(name)) {
      int[] ids = tokenizer.encode(text.toString());
      JsonNode expected = SampleTokenizers.expected(name).get("long");
      assertThat(ids).hasSize(expected.get("tokens").intValue());
      assertThat(TokenSequences.of(List.of(ids)).digest())
          .isEqualTo(expected.get("digest").textValue());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"\ud83d", "\udd89", "\udd89\ud83d", "\ud83d\ud83d"})
  void readsLoneSurrogatesAsReplacementCharacters(String halves) {
    String before = "🦉 a";
    String after = "b 🦉";
    try (TextTokenizer tokenizer = SampleTokenizers.load(SampleTokenizers.BYTE_LEVEL)) {
      assertThat(tokenizer.encode(before + halves + after))
          .isEqualTo(tokenizer.encode(before + "\ufffd".repeat(halves.length()) + after));
    }
  }

  @Test
  void encodesFromSeveralThreads() {
    try (TextTokenizer tokenizer = SampleTokenizers.load(SampleTokenizers.BYTE_FALLBACK)) {
      List<String> texts = IntStream.range(0, 200).mapToObj(i -> "owl " + i).toList();
      assertThat(texts.parallelStream().map(tokenizer::encode).map(Arrays::toString))
          .containsExactlyElementsOf(
              texts.stream().map(tokenizer::encode).map(Arrays::toString).toList());
    }
  }

  @Test
  void refusesToEncodeOnceClosed() {
    TextTokenizer tokenizer = SampleTokenizers.load(SampleTokenizers.BYTE_LEVEL);
    tokenizer.close();
    tokenizer.close();
    assertThatIllegalStateException().isThrownBy(() -> tokenizer.encode("owl"));
  }

  @Test
  void saysThatAFolderHasNoTokenizer() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TextTokenizer.load(new LocalStorage(), folder.toString()))
        .withMessage(
            "Cannot tokenize text: "
                + folder
                + " has no tokenizer.json; add the one that belongs to the model, or give token ids"
                + " as .safetensors");
  }

  @ParameterizedTest
  @ValueSource(strings = {"tokenizer.model", "vocab.json"})
  void saysHowToConvertAnotherTokenizer(String name) throws Exception {
    Files.createFile(folder.resolve(name));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TextTokenizer.load(new LocalStorage(), folder.toString()))
        .withMessage(
            "Cannot tokenize text: "
                + folder
                + " has no tokenizer.json; make one from its "
                + name
                + " with transformers' AutoTokenizer.from_pretrained(folder).save_pretrained(folder),"
                + " or give token ids as .safetensors");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "{", "[]", "{\"model\": {}}", "version https://git-lfs"})
  void refusesAFileThatDescribesNoTokenizer(String content) throws Exception {
    Files.writeString(folder.resolve("tokenizer.json"), content);
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> TextTokenizer.load(new LocalStorage(), folder.toString()))
        .withMessageStartingWith(
            "Cannot read " + folder + "/tokenizer.json: it describes no tokenizer: ");
  }

  @Test
  void saysWhichTokenizerCannotTokenize() throws Exception {
    Files.writeString(
        folder.resolve("tokenizer.json"),
        """
        {"version": "1.0", "added_tokens": [],
         "model": {"type": "WordLevel", "vocab": {"owl": 0}, "unk_token": "<unk>"}}""");
    try (TextTokenizer tokenizer = TextTokenizer.load(new LocalStorage(), folder.toString())) {
      assertThat(tokenizer.encode("owl")).containsExactly(0);
      assertThatExceptionOfType(MalformedCheckpointException.class)
          .isThrownBy(() -> tokenizer.encode("fox"))
          .withMessage(
              "Cannot tokenize text with "
                  + folder
                  + "/tokenizer.json: WordLevel error: Missing [UNK] token from the vocabulary");
    }
  }
}
