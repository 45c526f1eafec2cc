package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TextDocumentsTest {
  private final Storage storage = new LocalStorage();
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(strings = {"a.txt", "a.utf8", "a", "a.TXT"})
  void readsPlainTextAsOneDocument(String name) throws IOException {
    assertThat(read(write(name, "first line\r\n\r\nthird 🦉\n")))
        .containsExactly("first line\r\n\r\nthird 🦉\n");
  }

  @ParameterizedTest
  @ValueSource(strings = {"a.jsonl", "a.json", "A.JSONL"})
  void readsTheTextFieldOfEveryLine(String name) throws IOException {
    String lines =
        """
        {"text": "one", "url": "https://example.org"}
        {"meta": {"text": "not this", "more": [1, {"text": 2}]}, "text": "two\\nlines 🦉"}

          \t
        {"text": ""}\r
        {"text": "first", "text": "last"}""";
    assertThat(read(write(name, lines))).containsExactly("one", "two\nlines 🦉", "", "last");
  }

  @Test
  void endsWithOrWithoutALineEnd() throws IOException {
    assertThat(read(write("a.jsonl", "{\"text\":\"x\"}\n"))).containsExactly("x");
    assertThat(read(write("b.jsonl", "{\"text\":\"x\"}"))).containsExactly("x");
  }

  @ParameterizedTest
  @ValueSource(strings = {"a.jsonl.gz", "a.json.GZ", "a.jsonl"})
  void unzipsWhateverTheNameSays(String name) throws IOException {
    byte[] lines = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n".getBytes(StandardCharsets.UTF_8);
    assertThat(read(write(name, gzip(lines)))).containsExactly("one", "two");
  }

  @Test
  void readsTextThatIsNotZippedAlthoughItsNameSaysSo() throws IOException {
    assertThat(read(write("a.txt.gz", "an owl"))).containsExactly("an owl");
  }

  @Test
  void readsEveryMemberOfAGzipFile() throws IOException {
    // More than one chunk, so that the boundary is met with nothing in the buffers.
    byte[] noise = new byte[1 << 21];
    for (int i = 0; i < noise.length; i++) {
      noise[i] = (byte) ('a' + (i * 2654435761L >>> 20) % 26);
    }
    ByteArrayOutputStream members = new ByteArrayOutputStream();
    members.write(gzip(noise));
    members.write(gzip("!".getBytes(StandardCharsets.UTF_8)));
    assertThat(read(write("a.txt.gz", members.toByteArray())))
        .containsExactly(new String(noise, StandardCharsets.US_ASCII) + "!");
  }

  @Test
  void readsLinesLongerThanItsBuffers() throws IOException {
    List<String> texts =
        IntStream.range(0, 40).mapToObj(i -> ("owl🦉" + i).repeat(i * i * i)).toList();
    StringBuilder lines = new StringBuilder();
    texts.forEach(text -> lines.append("{\"text\":\"").append(text).append("\"}\n"));
    assertThat(read(write("a.jsonl", lines.toString()))).isEqualTo(texts);
  }

  @Test
  void readsADocumentLargerThanJacksonsLimit() throws IOException {
    String text = "owl ".repeat(6_000_000);
    assertThat(read(write("a.jsonl", "{\"text\":\"" + text + "\"}"))).containsExactly(text);
  }

  @Test
  void keepsTheOrderOfItsSources() throws IOException {
    String plain = write("z.txt", "plain");
    String lines = write("a.jsonl", "{\"text\":\"one\"}\n{\"text\":\"two\"}\n");
    List<DocumentSource> sources =
        List.of(
            DocumentSource.of(storage, plain),
            SampleTokenizers.source("hdfs://table.parquet", List.of("row 0", "row 1")),
            DocumentSource.of(storage, lines));
    try (TextDocuments documents = TextDocuments.read(sources)) {
      assertThat(texts(documents)).containsExactly("plain", "row 0", "row 1", "one", "two");
      assertThat(documents.source()).isEqualTo(plain + ", hdfs://table.parquet, " + lines);
    }
  }

  @Test
  void joinsDocuments() {
    try (TextDocuments documents = SampleTokenizers.documents("a", "", "ü")) {
      assertThat(documents.joined("\n\n")).isEqualTo("a\n\n\n\nü");
    }
  }

  @Test
  void readsDocumentsFromSeveralThreads() {
    List<String> texts = IntStream.range(0, 500).mapToObj(i -> "owl " + i).toList();
    try (TextDocuments documents = SampleTokenizers.documents(texts)) {
      assertThat(IntStream.range(0, 500).parallel().mapToObj(documents::text))
          .containsExactlyElementsOf(texts);
    }
  }

  @Test
  void leavesOutAByteOrderMark() throws IOException {
    assertThat(read(write("a.txt", "\ufeffan owl"))).containsExactly("an owl");
    assertThat(read(write("a.jsonl", "\ufeff{\"text\":\"\ufeffx\"}"))).containsExactly("\ufeffx");
  }

  @Test
  void replacesLoneSurrogates() throws IOException {
    assertThat(read(write("a.jsonl", "{\"text\":\"\\ud83d\\udd89 \\ud83d a \\udd89\"}")))
        .containsExactly("🖉 \ufffd a \ufffd");
  }

  @Test
  void keepsReplacementCharacters() throws IOException {
    assertThat(read(write("a.txt", "was lost: \ufffd"))).containsExactly("was lost: \ufffd");
  }

  @Test
  void leavesNothingBehind() throws IOException {
    long before = spools();
    TextDocuments documents = TextDocuments.read(storage, List.of(write("a.txt", "an owl")));
    assertThat(documents.text(0)).isEqualTo("an owl");
    documents.close();
    documents.close();
    assertRefusedStartingWith("b.jsonl", "{", "line 1 is not JSON: ");
    assertThat(spools()).isEqualTo(before);
  }

  @Test
  void saysWhichLineHasNoText() throws IOException {
    String good = "{\"text\":\"x\"}\n";
    assertRefused("a.jsonl", good + "\n" + "{\"content\":\"x\"}", "line 3 has no field \"text\"");
    assertRefused(
        "a.jsonl", good + "{\"text\":null}", "line 2 has a field \"text\" that is not a string");
    assertRefused(
        "a.jsonl",
        "{\"text\":{\"text\":\"\"}}",
        "line 1 has a field \"text\" that is not a string");
  }

  @Test
  void saysWhichLineIsNotAJsonObject() throws IOException {
    assertRefused(
        "a.json",
        "[\n{\"text\":\"x\"}]",
        "line 1 is not a JSON object; one is expected on every line");
    assertRefused(
        "a.jsonl",
        "{\"text\":\"x\"} {}",
        "line 1 has more than one JSON value; one object is expected on every line");
    assertRefusedStartingWith("a.jsonl", "{\"text\":\"x\"}\n{\"text\":\n", "line 2 is not JSON: ");
    assertRefusedStartingWith("a.jsonl", "an owl", "line 1 is not JSON: ");
    assertRefusedStartingWith("a.jsonl", "{\"text\":\"x\"} x", "line 1 is not JSON: ");
  }

  @Test
  void refusesWhatIsNotUtf8() throws IOException {
    byte[] latin1 = "für".getBytes(StandardCharsets.ISO_8859_1);
    assertRefused(
        "a.txt",
        latin1,
        "byte 1 is not UTF-8; text is read from .txt, .jsonl and .parquet, plain or gzipped");
    byte[] late = Arrays.copyOf("ü\ufffd".repeat(50_000).getBytes(StandardCharsets.UTF_8), 250_001);
    late[250_000] = (byte) 0xc3;
    assertRefused(
        "a.txt",
        late,
        "byte 250000 is not UTF-8; text is read from .txt, .jsonl and .parquet, plain or gzipped");
    ByteArrayOutputStream lines = new ByteArrayOutputStream();
    lines.write("{\"text\":\"x\"}\n{\"text\":\"".getBytes(StandardCharsets.UTF_8));
    lines.write(latin1);
    lines.write("\"}\n".getBytes(StandardCharsets.UTF_8));
    assertRefused(
        "a.jsonl",
        lines.toByteArray(),
        "line 2, byte 10 is not UTF-8; text is read from .txt, .jsonl and .parquet, plain or"
            + " gzipped");
  }

  @Test
  void refusesADamagedGzipFile() throws IOException {
    byte[] whole = gzip("an owl ".repeat(1000).getBytes(StandardCharsets.UTF_8));
    assertRefusedStartingWith(
        "a.txt.gz", Arrays.copyOf(whole, whole.length - 12), "it is not a whole gzip file: ");
    whole[whole.length - 8] ^= 1; // the checksum
    assertRefusedStartingWith("a.txt.gz", whole, "it is not a whole gzip file: ");
    assertRefusedStartingWith(
        "a.txt.gz", new byte[] {0x1f, (byte) 0x8b, 7}, "it is not a whole gzip file: ");
    for (int padding : new int[] {0, 3, 100_000}) {
      byte[] sound = gzip("an owl".getBytes(StandardCharsets.UTF_8));
      byte[] padded = Arrays.copyOf(sound, sound.length + padding);
      assertThat(read(write("p.txt.gz", padded))).containsExactly("an owl");
      byte[] followed = Arrays.copyOf(padded, padded.length + sound.length);
      System.arraycopy(sound, 0, followed, padded.length, sound.length);
      followed[padded.length] = 0x1e; // the first byte of a second member
      assertRefusedStartingWith(
          "a.txt.gz", followed, "it is not a whole gzip file: something else follows");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " \n\t\u3000 "})
  void refusesTextThatIsBlank(String text) throws IOException {
    String location = write("a.txt", text);
    String lines = write("b.jsonl", "{\"text\":\"\"}\n\n");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TextDocuments.read(storage, List.of(location, lines)))
        .withMessage("Cannot use text %s, %s: it holds no text", location, lines);
  }

  @Test
  void refusesNoLocation() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TextDocuments.read(storage, List.of()))
        .withMessage("Cannot use text: no location was given");
  }

  @Test
  void refersParquetToTheCommandLine() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TextDocuments.read(storage, List.of("data/wiki.parquet")))
        .withMessage(
            "Cannot read data/wiki.parquet: Parquet is read by the Spark command line (submit/owl);"
                + " give .txt or .jsonl here");
  }

  @Test
  void refusesTokenIds() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TextDocuments.read(storage, List.of("ids.safetensors")))
        .withMessage("Cannot read ids.safetensors: it holds token ids where text is expected");
  }

  @Test
  void saysThatAFileIsMissing() {
    String missing = folder.resolve("no.txt").toString();
    assertThatExceptionOfType(FileNotFoundException.class)
        .isThrownBy(() -> TextDocuments.read(storage, List.of(missing)))
        .withMessage(missing + ": it does not exist");
  }

  @Test
  void passesOnTheFailureOfASource() {
    DocumentSource broken =
        new DocumentSource() {
          @Override
          public String location() {
            return "broken";
          }

          @Override
          public void forEach(Consumer<String> documents) {
            throw new UncheckedIOException(new IOException("the network is gone"));
          }
        };
    assertThatExceptionOfType(IOException.class)
        .isThrownBy(() -> TextDocuments.read(List.of(broken)))
        .withMessage("the network is gone");
  }

  private List<String> read(String location) throws IOException {
    try (TextDocuments documents = TextDocuments.read(storage, List.of(location))) {
      return texts(documents);
    }
  }

  private static List<String> texts(TextDocuments documents) {
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < documents.count(); i++) {
      texts.add(documents.text(i));
    }
    return texts;
  }

  private void assertRefused(String name, String content, String message) throws IOException {
    assertRefused(name, content.getBytes(StandardCharsets.UTF_8), message);
  }

  private void assertRefused(String name, byte[] content, String message) throws IOException {
    String location = write(name, content);
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> read(location))
        .withMessage("Cannot read " + location + ": " + message);
  }

  private void assertRefusedStartingWith(String name, String content, String message)
      throws IOException {
    assertRefusedStartingWith(name, content.getBytes(StandardCharsets.UTF_8), message);
  }

  private void assertRefusedStartingWith(String name, byte[] content, String message)
      throws IOException {
    String location = write(name, content);
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(() -> read(location))
        .withMessageStartingWith("Cannot read " + location + ": " + message);
  }

  private String write(String name, String content) throws IOException {
    return write(name, content.getBytes(StandardCharsets.UTF_8));
  }

  private String write(String name, byte[] content) throws IOException {
    return Files.write(folder.resolve(name), content).toString();
  }

  private static byte[] gzip(byte[] content) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(bytes)) {
      out.write(content);
    }
    return bytes.toByteArray();
  }

  private static long spools() throws IOException {
    try (Stream<Path> files = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
      return files.filter(file -> file.getFileName().toString().startsWith("owl-text-")).count();
    }
  }
}
