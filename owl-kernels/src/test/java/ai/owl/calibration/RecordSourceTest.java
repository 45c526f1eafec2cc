package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.MemoryStorage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;

class RecordSourceTest {
  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void handsOverTheObjectOfEveryLine() throws IOException {
    String lines = "\ufeff{\"a\": 1}\n\n  \n{\"a\": [\"ü\", {\"b\": null}]}\r\n{}";
    List<String> expected =
        List.of("line 1 {\"a\":1}", "line 4 {\"a\":[\"ü\",{\"b\":null}]}", "line 5 {}");
    assertThat(read("items.jsonl", bytes(lines))).isEqualTo(expected);
    assertThat(read("items.JSON", bytes(lines))).isEqualTo(expected);
    ByteArrayOutputStream gzip = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(gzip)) {
      out.write(bytes(lines));
    }
    assertThat(read("items.jsonl.gz", gzip.toByteArray())).isEqualTo(expected);
  }

  @Test
  void refusesWhatIsNoObject() {
    assertThatThrownBy(() -> read("x.jsonl", bytes("{}\n[1]\n")))
        .hasMessage(
            "Cannot read x.jsonl: line 2 is not a JSON object; one is expected on every line");
    assertThatThrownBy(() -> read("x.jsonl", bytes("{\"a\": \n")))
        .hasMessageStartingWith("Cannot read x.jsonl: line 1 is not JSON: ");
    assertThatThrownBy(() -> read("x.jsonl", bytes("{} {}\n")))
        .hasMessageStartingWith("Cannot read x.jsonl: line 1 is not JSON: ");
    assertThatThrownBy(() -> read("x.txt", bytes("{}")))
        .hasMessage(
            "Cannot read x.txt: records are read from .jsonl, .json and .parquet, plain or"
                + " gzipped");
  }

  private List<String> read(String name, byte[] content) throws IOException {
    storage.files.put(name, content);
    List<String> found = new ArrayList<>();
    RecordSource.of(storage, name).forEach((place, fields) -> found.add(place + " " + fields));
    return found;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
