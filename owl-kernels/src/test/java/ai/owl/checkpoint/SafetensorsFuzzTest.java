package ai.owl.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Whatever the bytes are: a checked file or a MalformedCheckpointException, soon, in little memory.
 */
@Timeout(30)
class SafetensorsFuzzTest {
  private static final String FILE = "fuzz.safetensors";
  private static final com.sun.management.ThreadMXBean THREADS =
      (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

  private static final List<byte[]> SEEDS =
      List.of(
          MemoryStorage.safetensors("{}      ", 0),
          MemoryStorage.safetensors(
              """
              {"__metadata__":{"format":"pt"},\
              "model.norm.weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},\
              "model.q.weight":{"dtype":"BF16","shape":[2,4],"data_offsets":[16,32]},\
              "lm_head.weight":{"dtype":"F16","shape":[3,4],"data_offsets":[32,56]}}   """,
              56),
          MemoryStorage.safetensors(
              """
              {"é\\u00e9\\"":{"shape":[],"dtype":"I64","data_offsets":[0,8]},\
              "empty":{"data_offsets":[8,8],"dtype":"U8","shape":[0,7]}}""",
              8));

  private static final List<String> NUMBERS =
      List.of(
          "-1",
          "-0",
          "0",
          "1",
          "2147483647",
          "2147483648",
          "4294967296",
          "9223372036854775807",
          "9223372036854775808",
          "18446744073709551615",
          "-9223372036854775808",
          "1" + "0".repeat(60),
          "0.5",
          "1.0",
          "1e3",
          "1e400",
          "1e999999999",
          "007",
          "0x10",
          "NaN",
          "\"1\"",
          "null",
          "[]",
          "{}",
          "");

  private static final List<String> PIECES =
      List.of(
          "{",
          "}",
          "[",
          "]",
          ",",
          ":",
          "\"",
          "\\",
          "\\u0000",
          "\\ud800",
          "null",
          "true",
          "\"dtype\"",
          "\"shape\":[1]",
          "\"data_offsets\":[0,4]",
          "\"__metadata__\":{}",
          "\"__metadata__\"",
          "\"F32\"",
          "\0",
          "\ufeff",
          " ",
          "\n",
          "//",
          "[[[[[[[[[[[[",
          "{\"a\":{\"a\":{\"a\":{\"a\":");

  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void survivesFlippedBits() {
    Random random = new Random(1);
    int accepted = 0;
    for (int i = 0; i < 6000; i++) {
      byte[] content = pick(random, SEEDS).clone();
      for (int flips = 1 + random.nextInt(4); flips > 0; flips--) {
        content[random.nextInt(content.length)] ^= (byte) (1 << random.nextInt(8));
      }
      accepted += open("flipped " + i, content) ? 1 : 0;
    }
    assertThat(accepted).as("files accepted").isBetween(100, 5000);
  }

  @Test
  void survivesTruncationAndGrowth() {
    for (byte[] seed : SEEDS) {
      for (int length = 0; length < seed.length + 20; length++) {
        boolean accepted = open("length " + length, Arrays.copyOf(seed, length));
        assertThat(accepted)
            .as("%s of %s bytes", length, seed.length)
            .isEqualTo(length == seed.length);
      }
    }
  }

  @Test
  void survivesOtherNumbers() {
    Random random = new Random(2);
    Pattern number = Pattern.compile("\\d+");
    for (int i = 0; i < 6000; i++) {
      String header = header(pick(random, SEEDS));
      for (int edits = 1 + random.nextInt(3); edits > 0; edits--) {
        List<int[]> places =
            number.matcher(header).results().map(m -> new int[] {m.start(), m.end()}).toList();
        if (!places.isEmpty()) {
          int[] place = pick(random, places);
          header =
              header.substring(0, place[0]) + pick(random, NUMBERS) + header.substring(place[1]);
        }
      }
      open("number " + i, MemoryStorage.safetensors(header, random.nextInt(64)));
    }
  }

  @Test
  void survivesSplicedJson() {
    Random random = new Random(3);
    for (int i = 0; i < 8000; i++) {
      StringBuilder header = new StringBuilder(header(pick(random, SEEDS)));
      for (int edits = 1 + random.nextInt(4); edits > 0; edits--) {
        int at = random.nextInt(header.length() + 1);
        String other = header(pick(random, SEEDS));
        int begin = random.nextInt(other.length());
        int end = begin + random.nextInt(other.length() - begin + 1);
        switch (random.nextInt(4)) {
          case 0 -> header.insert(at, pick(random, PIECES));
          case 1 -> header.insert(at, other, begin, end);
          case 2 -> header.delete(at, Math.min(header.length(), at + random.nextInt(20)));
          default ->
              header.replace(
                  at, Math.min(header.length(), at + end - begin), other.substring(begin, end));
        }
      }
      open("spliced " + i, MemoryStorage.safetensors(header.toString(), 56));
    }
  }

  @Test
  void survivesNoise() {
    Random random = new Random(4);
    for (int i = 0; i < 3000; i++) {
      byte[] header = new byte[random.nextInt(200)];
      random.nextBytes(header);
      if (header.length > 0 && random.nextBoolean()) {
        header[0] = '{';
      }
      open("noise " + i, MemoryStorage.safetensors(header.length, header, new byte[8]));
    }
  }

  @Test
  void survivesHeadersMadeToExhaust() {
    refuses("nested arrays", "{\"a\":" + "[".repeat(1_000_000));
    refuses("nested objects", "{\"a\":".repeat(200_000));
    refuses("nested shape", "{\"a\":{\"shape\":" + "[".repeat(1_000_000));
    refuses("nested metadata", "{\"__metadata__\":" + "{\"a\":".repeat(200_000));
    refuses("long integer", "{\"a\":{\"shape\":[" + "9".repeat(1_000_000) + "]}}");
    refuses("long fraction", "{\"a\":{\"shape\":[0." + "9".repeat(1_000_000) + "]}}");
    refuses("long dtype", "{\"a\":{\"dtype\":\"" + "F".repeat(1_000_000) + "\"}}");
    refuses("long name", "{\"" + "a".repeat(1_000_000) + "\":0}");
    refuses("open name", "{\"" + "a".repeat(1_000_000));
    refuses("dimensions", "{\"a\":{\"shape\":[" + "1,".repeat(500_000) + "1]}}");
    refuses("spaces", "{" + " ".repeat(1_000_000));
    refuses("commas", "{" + ",".repeat(1_000_000));
    refuses("fields", "{\"a\":{" + "\"shape\":[],".repeat(100_000));
    refuses(
        "same name",
        "{" + "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},".repeat(9));
  }

  @Test
  void survivesNamesMadeToCollide() {
    // All strings over {Aa, BB} of a length have one hash.
    String header =
        IntStream.range(0, 1 << 15)
            .mapToObj(
                i -> {
                  StringBuilder name = new StringBuilder();
                  for (int bit = 0; bit < 15; bit++) {
                    name.append((i >> bit & 1) == 0 ? "Aa" : "BB");
                  }
                  return "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
                })
            .collect(Collectors.joining(",", "{", "}"));
    assertThat(open("collisions", MemoryStorage.safetensors(header, 0))).isTrue();
  }

  @Test
  void readsManyTensorsSoon() {
    String header =
        IntStream.range(0, 30_000)
            .mapToObj(
                i ->
                    String.format(
                        "\"model.layers.%d.weight\":{\"dtype\":\"U8\",\"shape\":[1,1],"
                            + "\"data_offsets\":[%d,%d]}",
                        i, i, i + 1))
            .collect(Collectors.joining(",", "{", "}"));
    assertThat(open("many", MemoryStorage.safetensors(header, 30_000))).isTrue();
  }

  @Test
  void allocatesNothingForALengthThatTheFileDoesNotHave() {
    open("warm up", MemoryStorage.safetensors(99_999_999, new byte[10], new byte[0]));
    byte[] content = MemoryStorage.safetensors(99_999_999, new byte[10], new byte[0]);
    long before = THREADS.getCurrentThreadAllocatedBytes();
    open("claimed", content);
    assertThat(THREADS.getCurrentThreadAllocatedBytes() - before).isLessThan(100_000);
  }

  private void refuses(String what, String header) {
    assertThat(open(what, MemoryStorage.safetensors(header, 9))).as(what).isFalse();
  }

  /** Whether the file was accepted; fails on anything but acceptance and honest refusal. */
  private boolean open(String what, byte[] content) {
    storage.files.put(FILE, content);
    storage.reads.clear();
    long allocated = THREADS.getCurrentThreadAllocatedBytes();
    long begun = System.nanoTime();
    SafetensorsFile file = null;
    try {
      file = SafetensorsFile.open(storage, FILE);
    } catch (MalformedCheckpointException e) {
      assertThat(e).as(what).hasMessageStartingWith("Cannot read " + FILE + ": ");
      assertThat(e.getMessage()).as(what).hasSizeLessThan(1000);
    } catch (IOException | RuntimeException | Error e) {
      fail(what + ": " + HexFormat.of().formatHex(content, 0, Math.min(500, content.length)), e);
    }
    long seconds = (System.nanoTime() - begun) / 1_000_000_000;
    assertThat(seconds).as(what + ", seconds").isLessThan(5);
    long most = 200_000 + 40L * content.length;
    assertThat(THREADS.getCurrentThreadAllocatedBytes() - allocated)
        .as(what + ", bytes allocated")
        .isLessThan(most);
    if (file == null) {
      return false;
    }
    long end = file.dataStart();
    for (TensorRef tensor : file.tensors()) {
      long elements = 1;
      for (long length : tensor.shape()) {
        elements = Math.multiplyExact(elements, length);
      }
      if (tensor.position() != end || tensor.bytes() != elements * tensor.type().bytes()) {
        fail(what + ": " + tensor + " should begin at " + end);
      }
      end += tensor.bytes();
    }
    assertThat(end).as(what).isEqualTo(content.length);
    return true;
  }

  private static String header(byte[] seed) {
    int length = (seed[0] & 0xff) | (seed[1] & 0xff) << 8;
    return new String(seed, 8, length, StandardCharsets.UTF_8);
  }

  private static <T> T pick(Random random, List<T> choices) {
    return choices.get(random.nextInt(choices.size()));
  }
}
