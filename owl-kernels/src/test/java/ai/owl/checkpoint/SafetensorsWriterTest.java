package ai.owl.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.SafetensorsWriter.Entry;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
  private static final String FILE = "out/model-00001-of-00001.safetensors";

  private final MemoryStorage storage = new MemoryStorage();

  @Test
  void writesHeaderAndDataByTheLetter() throws IOException {
    write(entry("b", DType.U8, List.of(3L), 1, 2, 3), entry("a", DType.I8, List.of(), 4));

    String json =
        "{\"__metadata__\":{\"format\":\"pt\"},"
            + "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
            + "\"a\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[3,4]}}";
    String padded = json + " ".repeat((8 - json.length() % 8) % 8);
    assertThat(storage.files.get(FILE))
        .isEqualTo(MemoryStorage.safetensors(padded, new byte[] {1, 2, 3, 4}));
  }

  @Test
  void writesWhatTheReaderReads() throws IOException {
    byte[] weights = random(2 * 3 * 5);
    ShardReceipt receipt =
        write(
            entry("model.norm.weight", DType.F32, List.of(2L), 0, 0, 128, 63, 0, 0, 0, 64),
            entry("empty", DType.F64, List.of(0L, 4L)),
            new Entry("weights", DType.BF16, List.of(3L, 5L), out -> out.write(weights)));

    SafetensorsFile file = SafetensorsFile.open(storage, FILE);
    assertThat(file.metadata()).containsOnlyKeys("format").containsValue("pt");
    assertThat(file.tensors())
        .extracting(TensorRef::name)
        .containsExactly("model.norm.weight", "empty", "weights");
    TensorRef last = file.tensors().get(2);
    assertThat(last.shape()).containsExactly(3L, 5L);
    byte[] content = storage.files.get(FILE);
    assertThat(Arrays.copyOfRange(content, (int) last.position(), content.length))
        .isEqualTo(weights);
    assertThat(receipt.tensors()).containsExactly("model.norm.weight", "empty", "weights");
    assertThat(receipt.dataBytes()).isEqualTo(8 + 30);
    assertThat(receipt.bytes()).isEqualTo(content.length);
  }

  @Test
  void namesFileSizeAndDigestInTheReceipt() throws Exception {
    ShardReceipt receipt = write(entry("a", DType.U8, List.of(5L), 1, 2, 3, 4, 5));

    byte[] content = storage.files.get(FILE);
    assertThat(receipt.file()).isEqualTo("model-00001-of-00001.safetensors");
    assertThat(receipt.sha256())
        .isEqualTo(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content)));

    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(receipt);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      assertThat(in.readObject()).isEqualTo(receipt);
    }
  }

  @Test
  void alignsTheDataWhateverTheNames() throws IOException {
    for (int length = 1; length <= 17; length++) {
      write(entry("é".repeat(length), DType.U8, List.of(1L), 7));
      SafetensorsFile file = SafetensorsFile.open(storage, FILE);
      assertThat(file.dataStart() % 8).isZero();
      assertThat(file.tensors().get(0).name()).isEqualTo("é".repeat(length));
    }
  }

  @Test
  void escapesNames() throws IOException {
    write(entry("a\"\\\n{", DType.U8, List.of(1L), 7));
    assertThat(SafetensorsFile.open(storage, FILE).tensors().get(0).name()).isEqualTo("a\"\\\n{");
  }

  @Test
  void writesFileWithoutTensors() throws IOException {
    ShardReceipt receipt = write();
    assertThat(receipt.dataBytes()).isZero();
    assertThat(SafetensorsFile.open(storage, FILE).tensors()).isEmpty();
  }

  @Test
  void writesTheSameBytesEachTime() throws IOException {
    Entry[] entries = {entry("b", DType.U8, List.of(1L), 1), entry("a", DType.U8, List.of(1L), 2)};
    ShardReceipt first = write(entries);
    byte[] content = storage.files.get(FILE);
    assertThat(write(entries)).isEqualTo(first);
    assertThat(storage.files.get(FILE)).isEqualTo(content);
  }

  @Test
  void copiesTensorsByteForByte() throws IOException {
    // More than one copy buffer, of bits that are no numbers one could compute with.
    byte[] big = random(9_000_001);
    storage.files.put(
        "in.safetensors",
        MemoryStorage.safetensors(
            """
            {"small":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[9000001,9000003]},
            "big":{"dtype":"I8","shape":[9000001],"data_offsets":[0,9000001]}}""",
            concat(big, new byte[] {(byte) 0xff, 0x7f})));
    List<TensorRef> tensors = SafetensorsFile.open(storage, "in.safetensors").tensors();
    storage.reads.clear();
    try (TensorReader reader = new TensorReader(storage)) {
      write(Entry.copy(tensors.get(1), reader), Entry.copy(tensors.get(0), reader));
    }

    assertThat(storage.reads).allMatch(read -> read.length() <= 4 << 20);
    List<TensorRef> copies = SafetensorsFile.open(storage, FILE).tensors();
    assertThat(copies.get(0).name()).isEqualTo("small");
    assertThat(bytes(copies.get(0))).containsExactly(0xff, 0x7f);
    assertThat(copies.get(1).type()).isEqualTo(DType.I8);
    assertThat(bytes(copies.get(1))).isEqualTo(big);
  }

  @Test
  void narrowsMatrices() throws IOException {
    for (DType type : List.of(DType.F32, DType.F16, DType.BF16)) {
      float[][] rows = {{1, -2.5f, 0}, {0.1f, 1e-7f, 300}};
      try (Matrix matrix = Matrix.of(rows)) {
        write(Entry.of("w", type, matrix));
      }
      TensorRef written = SafetensorsFile.open(storage, FILE).tensors().get(0);
      assertThat(written.type()).isEqualTo(type);
      assertThat(written.shape()).containsExactly(2L, 3L);
      byte[] expected = new byte[6 * type.bytes()];
      type.narrow(new float[] {1, -2.5f, 0, 0.1f, 1e-7f, 300}, 6, expected, 0);
      assertThat(bytes(written)).isEqualTo(expected);
    }
  }

  @Test
  void refusesToNarrowToATypeOfNoArithmetic() {
    try (Matrix matrix = new Matrix(1, 1)) {
      assertThatThrownBy(() -> Entry.of("w", DType.I8, matrix))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("Cannot write w as I8");
    }
  }

  @Test
  void refusesSourceThatWritesTooLittle() {
    assertThatThrownBy(() -> write(entry("a", DType.U8, List.of(3L), 1, 2)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("Cannot write a to " + FILE + ": its source wrote 2 bytes, expected 3");
    assertThat(storage.files).isEmpty();
  }

  @Test
  void refusesSourceThatWritesTooMuch() {
    assertThatThrownBy(
            () -> write(entry("a", DType.U8, List.of(1L), 1, 2), entry("b", DType.U8, List.of(1L))))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("Cannot write a: its source wrote more bytes");
    assertThat(storage.files).isEmpty();
  }

  @Test
  void refusesNameThatOccursTwice() {
    assertThatThrownBy(
            () -> write(entry("a", DType.U8, List.of(1L), 1), entry("a", DType.U8, List.of(1L), 1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("it would have a twice");
    assertThat(storage.files).isEmpty();
  }

  @Test
  void refusesEntriesThatNoFileCanHold() {
    assertThatThrownBy(() -> entry("__metadata__", DType.U8, List.of(1L), 1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> entry("a", DType.U8, List.of(-1L)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("negative");
  }

  @Test
  void leavesNothingBehindWhenASourceFails(@TempDir Path folder) throws IOException {
    Storage local = new LocalStorage();
    String location = folder.resolve("x.safetensors").toString();
    IOException cause = new IOException("lost");
    assertThatThrownBy(
            () ->
                SafetensorsWriter.write(
                    local,
                    location,
                    List.of(
                        entry("a", DType.U8, List.of(1L), 1),
                        new Entry(
                            "b",
                            DType.U8,
                            List.of(1L),
                            out -> {
                              throw cause;
                            }))))
        .isSameAs(cause);
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void keepsTheOldFileWhenWritingFails(@TempDir Path folder) throws IOException {
    Storage local = new LocalStorage();
    String location = folder.resolve("x.safetensors").toString();
    SafetensorsWriter.write(local, location, List.of(entry("a", DType.U8, List.of(1L), 1)));
    byte[] before = local.readAll(location, 1000);
    assertThatThrownBy(
            () ->
                SafetensorsWriter.write(
                    local, location, List.of(entry("a", DType.U8, List.of(2L), 1))))
        .isInstanceOf(IllegalStateException.class);
    assertThat(local.readAll(location, 1000)).isEqualTo(before);
    assertThat(local.list(folder.toString())).containsExactly("x.safetensors");
  }

  @Test
  void leavesNothingBehindWhenStorageIsFull() {
    storage.capacity = 1000;
    assertThatThrownBy(
            () -> write(new Entry("a", DType.U8, List.of(2000L), out -> out.write(new byte[2000]))))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("no space left");
    assertThat(storage.files).isEmpty();
  }

  private ShardReceipt write(Entry... entries) throws IOException {
    return SafetensorsWriter.write(storage, FILE, List.of(entries));
  }

  private byte[] bytes(TensorRef tensor) {
    return Arrays.copyOfRange(
        storage.files.get(tensor.file()),
        (int) tensor.position(),
        (int) (tensor.position() + tensor.bytes()));
  }

  private static Entry entry(String name, DType type, List<Long> shape, int... bytes) {
    return new Entry(
        name,
        type,
        shape,
        out -> {
          for (int b : bytes) {
            out.write(b);
          }
        });
  }

  private static byte[] random(int length) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }

  private static byte[] concat(byte[] a, byte[] b) {
    return ByteBuffer.allocate(a.length + b.length).put(a).put(b).array();
  }
}
