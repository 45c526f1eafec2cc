package ai.owl.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.tensor.DType;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class SafetensorsFileTest {
  private static final String FILE = "m/model.safetensors";

  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void readsTensorsAndMetadata() throws IOException {
    String header =
        """
        {"__metadata__":{"format":"pt","note":"é"},
        "w":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
        "b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""";
    SafetensorsFile file = open(header, 16);

    long start = 8 + header.getBytes(StandardCharsets.UTF_8).length;
    assertThat(file.location()).isEqualTo(FILE);
    assertThat(file.dataStart()).isEqualTo(start);
    assertThat(file.size()).isEqualTo(start + 16);
    assertThat(file.tensors())
        .containsExactly(
            new TensorRef("b", FILE, DType.F32, List.of(1L), start, 4),
            new TensorRef("w", FILE, DType.BF16, List.of(2L, 3L), start + 4, 12));
    assertThat(file.metadata()).containsEntry("format", "pt").containsEntry("note", "é").hasSize(2);
  }

  @Test
  void readsEveryTypeOfTheFormat() throws IOException {
    for (DType type : DType.values()) {
      SafetensorsFile file =
          open(tensor("x", type.name(), "[3]", "[0," + 3 * type.bytes() + "]"), 3 * type.bytes());
      assertThat(file.tensors().get(0).type()).isEqualTo(type);
      assertThat(file.tensors().get(0).elements()).isEqualTo(3);
    }
  }

  @Test
  void readsScalarsAndEmptyTensors() throws IOException {
    SafetensorsFile file =
        open(
            """
            {"z":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]},
            "scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
            "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},
            "e":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}""",
            8);
    assertThat(file.tensors()).extracting(TensorRef::name).containsExactly("scalar", "e", "z", "a");
  }

  @Test
  void readsAFileWithoutTensors() throws IOException {
    assertThat(open("{}", 0).tensors()).isEmpty();
  }

  @Test
  void readsAHeaderPaddedWithSpaces() throws IOException {
    assertThat(open("{}      ", 0).dataStart()).isEqualTo(16);
  }

  @Test
  void readsNothingButTheHeader() throws IOException {
    String header = tensor("x", "U8", "[1000]", "[0,1000]");
    open(header, 1000);
    assertThat(storage.reads)
        .containsExactly(
            new MemoryStorage.Read(FILE, 0, 8), new MemoryStorage.Read(FILE, 8, header.length()));
    assertThat(storage.closed).isEqualTo(1);
  }

  @Test
  void cannotBeChangedThroughWhatItHandsOut() throws IOException {
    SafetensorsFile file = open("{\"__metadata__\":{\"format\":\"pt\"}}", 0);
    assertThatThrownBy(() -> file.tensors().add(null))
        .isInstanceOf(UnsupportedOperationException.class);
    assertThatThrownBy(() -> file.metadata().put("a", "b"))
        .isInstanceOf(UnsupportedOperationException.class);
  }

  @Test
  void leavesAMissingFileToTheCaller() {
    assertThatThrownBy(() -> SafetensorsFile.open(storage, "nowhere"))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessageContaining("nowhere");
  }

  @Test
  void refusesFileWithoutRoomForTheLength() {
    refusesBytes(new byte[7], "begins with the 8 bytes", "this one has 7 bytes in all");
    refusesBytes(new byte[0], "this one has 0 bytes in all");
  }

  @Test
  void refusesNegativeHeaderLength() {
    refusesBytes(
        MemoryStorage.safetensors(-1, new byte[2], new byte[0]),
        "claims a header of 18446744073709551615 bytes, more than the 100000000");
  }

  @Test
  void refusesHeaderLengthAboveTheFormatsLimit() {
    refusesBytes(
        MemoryStorage.safetensors(100_000_001, new byte[2], new byte[0]),
        "claims a header of 100000001 bytes");
  }

  @Test
  void refusesHeaderLongerThanTheFile() {
    refusesBytes(
        MemoryStorage.safetensors(100_000_000, "{}".getBytes(StandardCharsets.UTF_8), new byte[9]),
        "claims a header of 100000000 bytes, but only 11 bytes follow");
  }

  @Test
  void recognizesGitLfsPointer() {
    refusesBytes(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
            .getBytes(StandardCharsets.UTF_8),
        "looks like a Git LFS pointer");
  }

  @Test
  void refusesEmptyHeader() {
    refuses("", 0, "does not begin with '{'");
  }

  @Test
  void refusesHeaderThatIsNotAnObject() {
    refuses("[]", 0, "does not begin with '{'");
    refuses(" {}", 0, "does not begin with '{'");
  }

  @Test
  void refusesHeaderThatIsNotUtf8() {
    byte[] header = "{\"a?\":1}".getBytes(StandardCharsets.UTF_8);
    header[3] = (byte) 0xff;
    refusesBytes(
        MemoryStorage.safetensors(header.length, header, new byte[0]), "its header is not UTF-8");
  }

  @Test
  void refusesOverlongUtf8() {
    byte[] header = "{\"a??\":1}".getBytes(StandardCharsets.UTF_8);
    header[3] = (byte) 0xc0;
    header[4] = (byte) 0xaf;
    refusesBytes(
        MemoryStorage.safetensors(header.length, header, new byte[0]), "its header is not UTF-8");
  }

  @Test
  void refusesHeaderInUtf16() {
    byte[] header = "{}".getBytes(StandardCharsets.UTF_16LE);
    refusesBytes(
        MemoryStorage.safetensors(header.length, header, new byte[0]), "its header is not valid");
  }

  @Test
  void refusesHeaderThatIsNotJson() {
    refuses("{\"a\":nonsense}", 0, "its header is not valid JSON", "at character");
  }

  @Test
  void refusesHeaderThatEndsEarly() {
    refuses("{\"a\":{\"dtype\":\"F32\"", 0, "its header is not valid JSON");
  }

  @Test
  void refusesWhatFollowsTheObject() {
    refuses("{}{}", 0, "goes on after the closing brace, with an object");
    refuses("{} 1", 0, "goes on after the closing brace, with 1");
    refuses("{}\0\0", 0, "its header is not valid JSON");
  }

  @Test
  void refusesTensorThatOccursTwice() {
    refuses(
        """
        {"q":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
        "q":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""",
        2,
        "has 'q' twice");
  }

  @Test
  void refusesMetadataThatOccursTwice() {
    refuses("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "has '__metadata__' twice");
  }

  @Test
  void refusesFieldThatOccursTwice() {
    refuses(
        "{\"q\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}",
        1,
        "tensor 'q' has shape twice");
  }

  @Test
  void refusesMetadataThatIsNotAnObject() {
    refuses("{\"__metadata__\":[\"pt\"]}", 0, "__metadata__", "object of strings", "an array");
    refuses("{\"__metadata__\":null}", 0, "__metadata__", "object of strings", "null");
  }

  @Test
  void refusesMetadataThatIsNotText() {
    refuses("{\"__metadata__\":{\"epoch\":3}}", 0, "strings only, but 'epoch' is 3");
    refuses("{\"__metadata__\":{\"a\":{}}}", 0, "strings only, but 'a' is an object");
  }

  @Test
  void refusesMetadataKeyThatOccursTwice() {
    refuses("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "__metadata__", "has 'a' twice");
  }

  @Test
  void refusesEntryThatIsNotAnObject() {
    refuses("{\"q\":17}", 0, "tensor 'q' should be an object", "its entry is 17");
  }

  @Test
  void refusesMissingFields() {
    refuses("{\"q\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor 'q' has no dtype");
    refuses("{\"q\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor 'q' has no shape");
    refuses("{\"q\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor 'q' has no data_offsets");
  }

  @Test
  void refusesUnknownField() {
    refuses(
        "{\"q\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"strides\":[1]}}",
        1,
        "tensor 'q' has an unknown field 'strides'");
  }

  @Test
  void refusesFieldsOfWrongType() {
    refuses(tensor("q", "[1]", "[0,1]").replace("\"U8\"", "8"), 1, "string as its dtype", "has 8");
    refuses(tensor("q", "\"1\"", "[0,1]"), 1, "'q' should have an array as its shape", "'1'");
    refuses(tensor("q", "[1]", "{}"), 1, "an array as its data_offsets, but has an object");
    refuses(tensor("q", "[\"1\"]", "[0,1]"), 1, "whole numbers of at least 0", "string '1'");
    refuses(tensor("q", "[[1]]", "[0,1]"), 1, "whole numbers of at least 0", "an array");
    refuses(tensor("q", "[null]", "[0,1]"), 1, "whole numbers of at least 0", "null");
  }

  @Test
  void refusesUnknownType() {
    refuses(tensor("q", "F4", "[2]", "[0,1]"), 1, "tensor 'q' has the unknown dtype 'F4'", "BF16");
    refuses(tensor("q", "bf16", "[1]", "[0,2]"), 2, "unknown dtype 'bf16'");
  }

  @Test
  void refusesNegativeNumbers() {
    refuses(tensor("q", "[-1]", "[0,1]"), 1, "tensor 'q'", "at least 0 in its shape, but has -1");
    refuses(tensor("q", "[1]", "[-1,0]"), 1, "at least 0 in its data_offsets, but has -1");
    refuses(tensor("q", "[-0]", "[0,0]"), 0, "at least 0 in its shape, but has -0");
  }

  @Test
  void refusesFractions() {
    refuses(tensor("q", "[1.0]", "[0,1]"), 1, "whole numbers of at least 0 in its shape", "1.0");
    refuses(tensor("q", "[1e0]", "[0,1]"), 1, "whole numbers of at least 0 in its shape", "1e0");
    refuses(tensor("q", "[1e999999999]", "[0,1]"), 1, "whole numbers", "1e999999999");
  }

  @Test
  void refusesNumbersBeyondLong() {
    refuses(
        tensor("q", "[9223372036854775808]", "[0,1]"),
        1,
        "tensor 'q' has 9223372036854775808 in its shape");
    refuses(tensor("q", "[1]", "[0,18446744073709551616]"), 1, "in its data_offsets");
    refuses(
        tensor("q", "[" + "9".repeat(5000) + "]", "[0,1]"),
        1,
        "the entry of 'q'",
        "length (5000) exceeds");
  }

  @Test
  void refusesShapeWhoseProductOverflows() {
    refuses(
        tensor("q", "[4294967296,4294967296]", "[0,0]"), 0, "tensor 'q'", "more bytes than any");
    refuses(tensor("q", "F64", "[2305843009213693952]", "[0,0]"), 0, "'q'", "more bytes than any");
  }

  @Test
  void refusesTooManyDimensions() {
    String shape = "[" + String.join(",", Collections.nCopies(65, "1")) + "]";
    refuses(tensor("q", shape, "[0,1]"), 1, "tensor 'q' has more than 64 numbers in its shape");
  }

  @Test
  void refusesOtherThanTwoOffsets() {
    refuses(tensor("q", "[1]", "[0]"), 1, "tensor 'q' should have two data_offsets, but has [0]");
    refuses(tensor("q", "[1]", "[0,1,2]"), 1, "more than 2 numbers in its data_offsets");
  }

  @Test
  void refusesOffsetsThatEndBeforeTheyBegin() {
    refuses(tensor("q", "[1]", "[1,0]"), 1, "data_offsets [1, 0] that end before they begin");
  }

  @Test
  void refusesSpanThatDoesNotFitTheShape() {
    refuses(
        tensor("q", "BF16", "[2,3]", "[0,10]"),
        10,
        "tensor 'q' of type BF16 and shape [2, 3] needs 12 bytes",
        "data_offsets [0, 10] span 10");
  }

  @Test
  void refusesOverlappingTensors() {
    refuses(
        """
        {"q":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
        "k":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}}""",
        7,
        "tensor 'k' begins at data offset 3, inside of tensor 'q', which ends at 4");
  }

  @Test
  void refusesTensorsAtTheSamePlace() {
    refuses(
        """
        {"q":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
        "k":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}""",
        4,
        "tensor 'q' begins at data offset 0, inside of tensor 'k'");
  }

  @Test
  void refusesHoleBetweenTensors() {
    refuses(
        """
        {"q":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
        "k":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}}""",
        9,
        "tensor 'k' begins at data offset 5, but 'q' ends at 4: the bytes between");
  }

  @Test
  void refusesHoleBeforeTheFirstTensor() {
    refuses(tensor("q", "[1]", "[8,9]"), 9, "'q' begins at data offset 8", "data begins at 0");
    refuses(
        tensor("q", "[1]", "[9223372036854775806,9223372036854775807]"),
        9,
        "tensor 'q' has data_offsets [9223372036854775806, 9223372036854775807]",
        "only 9 bytes follow the header");
  }

  @Test
  void refusesTruncatedFile() {
    refuses(
        tensor("q", "[100]", "[0,100]"),
        58,
        "it is truncated",
        "need 100 bytes, up to the end of 'q', but only 58 follow the header",
        "42 bytes are missing");
    refuses(tensor("q", "[9223372036854775807]", "[0,9223372036854775807]"), 7, "it is truncated");
  }

  @Test
  void refusesBytesAfterTheLastTensor() {
    refuses(tensor("q", "[100]", "[0,100]"), 103, "the last 3 belong to no tensor");
    refuses("{}", 1, "the last 1 belong to no tensor");
  }

  @Test
  void keepsMessagesShortAndPrintable() {
    String name = "a\\n\\u001b[31m" + "x".repeat(10_000);
    assertThatThrownBy(() -> open("{\"" + name + "\":1}", 0))
        .isInstanceOf(MalformedCheckpointException.class)
        .message()
        .hasSizeLessThan(500)
        .contains("tensor 'a??[31mxxx")
        .doesNotContain("\n", "\u001b");
  }

  private void refuses(String header, int dataBytes, String... fragments) {
    refusesBytes(MemoryStorage.safetensors(header, dataBytes), fragments);
  }

  private void refusesBytes(byte[] content, String... fragments) {
    storage.files.put(FILE, content);
    assertThatThrownBy(() -> SafetensorsFile.open(storage, FILE))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageStartingWith("Cannot read " + FILE + ": ")
        .hasMessageContainingAll(fragments);
  }

  private SafetensorsFile open(String header, int dataBytes) throws IOException {
    storage.files.put(FILE, MemoryStorage.safetensors(header, dataBytes));
    return SafetensorsFile.open(storage, FILE);
  }

  private static String tensor(String name, String shape, String offsets) {
    return tensor(name, "U8", shape, offsets);
  }

  private static String tensor(String name, String type, String shape, String offsets) {
    return String.format(
        "{\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":%s}}", name, type, shape, offsets);
  }
}
