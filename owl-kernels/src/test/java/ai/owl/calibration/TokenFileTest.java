package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.MalformedCheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenFileTest {
  @TempDir Path folder;
  private Path file;

  @BeforeEach
  void name() {
    file = folder.resolve("tokens.safetensors");
  }

  @Test
  void readsLongs() throws IOException {
    write("calibration", "I64", "2,3", longs(1, 2, 3, 4, 5, Integer.MAX_VALUE));
    assertThat(TokenFile.read(new LocalStorage(), file.toString(), TokenFile.CALIBRATION))
        .isEqualTo(
            TokenSequences.of(List.of(new int[] {1, 2, 3}, new int[] {4, 5, Integer.MAX_VALUE})));
  }

  @Test
  void readsInts() throws IOException {
    write("evaluation", "I32", "3,1", ints(7, 0, 9));
    assertThat(TokenFile.read(new LocalStorage(), file.toString(), TokenFile.EVALUATION))
        .isEqualTo(TokenSequences.of(List.of(new int[] {7}, new int[] {0}, new int[] {9})));
  }

  @Test
  void readsSequencesOfMoreThanOneChunk() throws IOException {
    int length = 300_001;
    ByteBuffer ids = ByteBuffer.allocate(2 * length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < 2 * length; i++) {
      ids.putLong(i);
    }
    write("calibration", "I64", "2," + length, ids.array());
    TokenSequences read =
        TokenFile.read(new LocalStorage(), file.toString(), TokenFile.CALIBRATION);
    assertThat(read.tokens()).isEqualTo(2L * length);
    for (int i = 0; i < length; i++) {
      if (i % 1000 == 0 || i == length - 1) {
        assertThat(read.sequence(1)[i]).isEqualTo(length + i);
      }
    }
  }

  @Test
  void namesTheTensorsThatThereAre() throws IOException {
    write("tokens", "I64", "1,1", longs(1));
    assertRefused(
        "Cannot read token ids from %s: it has no tensor 'calibration'; there is 'tokens'");
  }

  @Test
  void saysThatThereIsNoTensor() throws IOException {
    writeHeader("{}", new byte[0]);
    assertRefused(
        "Cannot read token ids from %s: it has no tensor 'calibration'; there is none at all");
  }

  @Test
  void refusesOtherTypes() throws IOException {
    write("calibration", "F32", "1,1", ints(0));
    assertRefused(
        "Cannot read token ids from %s: tensor 'calibration' has type F32, but token ids are I64 or"
            + " I32");
  }

  @Test
  void refusesOtherShapes() throws IOException {
    write("calibration", "I64", "2", longs(1, 2));
    assertRefused(
        "Cannot read token ids from %s: tensor 'calibration' has shape [2], but token ids have"
            + " [sequences, length]");
    write("calibration", "I64", "0,5", longs());
    assertRefused(
        "Cannot read token ids from %s: tensor 'calibration' has shape [0, 5], but token ids have"
            + " [sequences, length]");
  }

  @Test
  void refusesNegativeIds() throws IOException {
    write("calibration", "I64", "2,2", longs(1, 2, 3, -100));
    assertRefused(
        "Cannot read token ids from %s: tensor 'calibration' holds -100 at [1, 1], but token ids are"
            + " numbers from 0 to 2147483647");
  }

  @Test
  void refusesIdsBeyondInt() throws IOException {
    write("calibration", "I64", "1,2", longs(1, 1L << 32));
    assertRefused(
        "Cannot read token ids from %s: tensor 'calibration' holds 4294967296 at [0, 1], but token"
            + " ids are numbers from 0 to 2147483647");
  }

  private void assertRefused(String message) {
    assertThatExceptionOfType(MalformedCheckpointException.class)
        .isThrownBy(
            () -> TokenFile.read(new LocalStorage(), file.toString(), TokenFile.CALIBRATION))
        .withMessage(message, file);
  }

  private void write(String name, String type, String shape, byte[] data) throws IOException {
    writeHeader(
        "{\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[0,%d]}}"
            .formatted(name, type, shape, data.length),
        data);
  }

  private void writeHeader(String header, byte[] data) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    Files.write(
        file,
        ByteBuffer.allocate(8 + json.length + data.length)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(json.length)
            .put(json)
            .put(data)
            .array());
  }

  private static byte[] longs(long... values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asLongBuffer().put(values);
    return bytes.array();
  }

  private static byte[] ints(int... values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asIntBuffer().put(values);
    return bytes.array();
  }
}
