package ai.owl.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.evaluation.Perplexity;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeptResultsTest {
  @TempDir Path folder;

  private final List<String> told = new ArrayList<>();

  private KeptResults results() {
    return new KeptResults(
        new LocalStorage(), folder.toString(), OutputCheckpointTest.telling(told));
  }

  @Test
  void givesWhatWasKept() throws IOException {
    Perplexity perplexity = Perplexity.of(new double[] {1, 2}, 10);
    HashMap<String, long[]> large = new HashMap<>();
    for (int i = 0; i < 1000; i++) {
      large.put("" + i, new long[i % 7]);
    }
    results().write("perplexity", perplexity);
    results().write("map", large);
    results().write("list", new ArrayList<>(List.of(1, 2)));
    assertThat(results().read("perplexity", Perplexity.class)).contains(perplexity);
    assertThat(results().read("map", HashMap.class).orElseThrow()).hasSize(1000);
    assertThat(results().read("list", ArrayList.class).orElseThrow()).containsExactly(1, 2);
    assertThat(results().read("none", String.class)).isEmpty();
    assertThat(told).isEmpty();
  }

  @Test
  void findsOutAnewWhatItCannotRead() throws IOException {
    results().write("x", new long[4]);
    byte[] numbers = Files.readAllBytes(folder.resolve("x"));
    byte[] huge = numbers.clone();
    ByteBuffer.wrap(huge).putInt(huge.length - 4 * 8 - 4, Integer.MAX_VALUE);
    results().write("x", Perplexity.of(new double[] {1, 2}, 10));
    byte[] perplexity = Files.readAllBytes(folder.resolve("x"));
    byte[] badName = perplexity.clone();
    int name = new String(badName, StandardCharsets.ISO_8859_1).indexOf(Perplexity.class.getName());
    assertThat(name).isPositive();
    badName[name] = (byte) 0xff;
    Map<String, byte[]> damaged =
        Map.of(
            "an array of 2^31 - 1 elements",
            huge,
            "a name that is no UTF",
            badName,
            "another class",
            numbers,
            "cut off",
            Arrays.copyOf(perplexity, perplexity.length - 3),
            "cut off early",
            Arrays.copyOf(perplexity, 3),
            "empty",
            new byte[0],
            "zeros",
            new byte[100]);
    for (Map.Entry<String, byte[]> file : damaged.entrySet()) {
      Files.write(folder.resolve("x"), file.getValue());
      told.clear();
      assertThat(results().read("x", Perplexity.class)).as(file.getKey()).isEmpty();
      assertThat(told)
          .containsExactly(folder.resolve("x") + " cannot be used: what it held is found out anew");
    }
  }

  @Test
  void makesWayForAResultWhereThereIsAFolder() throws IOException {
    Files.createDirectories(folder.resolve("x/y"));
    Files.write(folder.resolve("x/z"), new byte[1]);
    assertThat(results().get("x", String.class, () -> "found")).isEqualTo("found");
    assertThat(told).hasSize(1);
    assertThat(results().read("x", String.class)).contains("found");
  }
}
