package ai.owl.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.SafetensorsWriter.Entry;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.LongStream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class TensorReaderTest {
  private static final String FILE = "m/a.safetensors";

  private final MemoryStorage storage = new MemoryStorage();
  private final TensorReader reader = new TensorReader(storage);

  @AfterEach
  void close() throws IOException {
    reader.close();
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void readsMatrices(DType type) throws IOException {
    for (int cols : new int[] {1, 2, 3, 4, 7, 64, 129}) {
      float[] values = values(5 * cols, type);
      TensorRef tensor = stored(type, values, 5, cols);
      try (Matrix matrix = reader.readMatrix(tensor)) {
        assertThat(matrix.rows()).isEqualTo(5);
        assertThat(matrix.cols()).isEqualTo(cols);
        assertThat(matrix.toArray()).isEqualTo(values);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void readsRangesOfRows(DType type) throws IOException {
    float[] values = values(10 * 3, type);
    TensorRef tensor = stored(type, values, 10, 3);
    try (Matrix matrix = reader.readMatrix(tensor, 4, 2)) {
      assertThat(matrix.toArray()).isEqualTo(Arrays.copyOfRange(values, 12, 18));
    }
    try (Matrix none = reader.readMatrix(tensor, 10, 0)) {
      assertThat(none.rows()).isZero();
    }
  }

  @Test
  void readsMatrixWithoutRows() throws IOException {
    try (Matrix matrix = reader.readMatrix(stored(DType.F32, new float[0], 0, 3))) {
      assertThat(matrix.rows()).isZero();
    }
  }

  @Test
  void readsWholeRowsInChunksOfAtMostEightMebibytes() throws IOException {
    int cols = 1000;
    float[] values = values(5000 * cols, DType.F32);
    TensorRef tensor = stored(DType.F32, values, 5000, cols);
    try (Matrix matrix = reader.readMatrix(tensor)) {
      assertThat(matrix.toArray()).isEqualTo(values);
    }
    assertThat(storage.reads)
        .hasSize(3)
        .allMatch(read -> read.length() <= 8 << 20 && read.length() % (cols * 4) == 0);
  }

  @Test
  void readsRowsThatAreBiggerThanAChunk() throws IOException {
    int cols = 3_000_000;
    float[] values = values(2 * cols, DType.F32);
    try (Matrix matrix = reader.readMatrix(stored(DType.F32, values, 2, cols))) {
      assertThat(matrix.toArray()).isEqualTo(values);
    }
    assertThat(storage.reads).extracting(MemoryStorage.Read::length).containsOnly(cols * 4);
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "F16", "BF16"})
  void readsVectors(DType type) throws IOException {
    float[] values = values(77, type);
    assertThat(reader.readVector(stored(type, values, 77))).isEqualTo(values);
    assertThat(reader.readVector(stored(type, new float[0], 0))).isEmpty();
  }

  @Test
  void readsTheLargestAndSmallestNumbers() throws IOException {
    float[] extremes = {
      Float.MAX_VALUE, -Float.MAX_VALUE, Float.MIN_VALUE, -Float.MIN_VALUE, 0f, -0f
    };
    assertThat(reader.readVector(stored(DType.F32, extremes, 6))).isEqualTo(extremes);
    try (Matrix matrix = reader.readMatrix(stored(DType.F32, extremes, 2, 3))) {
      assertThat(matrix.toArray()).isEqualTo(extremes);
    }
  }

  @ParameterizedTest
  @CsvSource({"NaN,0", "NaN,6", "Infinity,3", "-Infinity,4", "Infinity,5"})
  void refusesWhatIsNotFinite(float bad, int col) throws IOException {
    for (DType type : List.of(DType.F32, DType.F16, DType.BF16)) {
      float[] values = values(4 * 7, type);
      values[2 * 7 + col] = bad;
      TensorRef tensor = stored(type, values, 4, 7);
      String message = "Cannot use w of " + FILE + ": " + bad + " at [2, " + col + "]";
      refuses(() -> reader.readMatrix(tensor), message);
      refuses(() -> reader.readMatrix(tensor, 1, 2), message);
      refuses(() -> reader.readRows(tensor, new long[] {0, 2}, (row, x) -> {}), message);
      reader.readMatrix(tensor, 3, 1).close();

      TensorRef vector = stored(type, values, 28);
      refuses(
          () -> reader.readVector(vector),
          "Cannot use w of " + FILE + ": " + bad + " at [" + (14 + col) + "]");
    }
  }

  @Test
  void refusesNanBeyondTheFirstChunk() throws IOException {
    float[] values = new float[3000 * 1000];
    values[2999 * 1000 + 999] = Float.NaN;
    TensorRef tensor = stored(DType.F32, values, 3000, 1000);
    refuses(() -> reader.readMatrix(tensor), "NaN at [2999, 999]");
  }

  @Test
  void readsSelectedRows() throws IOException {
    float[] values = values(20 * 3, DType.BF16);
    TensorRef tensor = stored(DType.BF16, values, 20, 3);
    Map<Long, float[]> rows = rows(tensor, 0, 1, 7, 19);
    assertThat(rows).containsOnlyKeys(0L, 1L, 7L, 19L);
    rows.forEach(
        (row, found) ->
            assertThat(found)
                .isEqualTo(Arrays.copyOfRange(values, (int) (row * 3), (int) (row * 3 + 3))));
    assertThat(storage.reads).hasSize(1);
    assertThat(rows(tensor)).isEmpty();
  }

  @Test
  void mergesNeighboursOnlyAcrossSmallGaps() throws IOException {
    // A row is 64 KiB: four of them are the widest gap that is read over.
    int cols = 16 << 10;
    TensorRef tensor = stored(DType.F32, new float[40 * cols], 40, cols);
    rows(tensor, 2, 7, 13, 14);
    assertThat(storage.reads)
        .extracting(read -> (read.position() - tensor.position()) / (cols * 4))
        .containsExactly(2L, 13L);
    assertThat(storage.reads).extracting(read -> read.length() / (cols * 4)).containsExactly(6, 2);
  }

  @Test
  void mergesNeighboursIntoReadsOfAtMostFourMebibytes() throws IOException {
    int cols = 16 << 10;
    float[] values = values(150 * cols, DType.F32);
    TensorRef tensor = stored(DType.F32, values, 150, cols);
    Map<Long, float[]> rows = rows(tensor, LongStream.range(0, 150).toArray());
    assertThat(rows).hasSize(150);
    rows.forEach(
        (row, found) ->
            assertThat(found)
                .isEqualTo(Arrays.copyOfRange(values, (int) (row * cols), (int) (row + 1) * cols)));
    assertThat(storage.reads)
        .extracting(MemoryStorage.Read::length)
        .containsExactly(4 << 20, 4 << 20, 22 << 16);
  }

  @Test
  void readsSelectedRowsThatAreBiggerThanARead() throws IOException {
    int cols = 2_000_000;
    float[] values = values(3 * cols, DType.F32);
    Map<Long, float[]> rows = rows(stored(DType.F32, values, 3, cols), 0, 2);
    assertThat(rows.get(2L)).isEqualTo(Arrays.copyOfRange(values, 2 * cols, 3 * cols));
    assertThat(storage.reads).hasSize(2);
  }

  @Test
  void refusesRowsOutOfOrderOrRange() throws IOException {
    TensorRef tensor = stored(DType.F32, new float[8], 4, 2);
    for (long[] rows : new long[][] {{1, 1}, {2, 1}, {-1}, {4}, {0, 4}}) {
      assertThatThrownBy(() -> reader.readRows(tensor, rows, (row, x) -> {}))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("Cannot read row " + rows[rows.length - 1] + " of w");
    }
    for (long[] range : new long[][] {{-1, 1}, {0, 5}, {4, 1}, {1, Long.MAX_VALUE}, {0, -1}}) {
      assertThatThrownBy(() -> reader.readMatrix(tensor, range[0], range[1]))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void refusesTypesItCannotComputeWith() {
    TensorRef tensor = new TensorRef("w", FILE, DType.I8, List.of(2L, 2L), 0, 4);
    refuses(
        () -> reader.readMatrix(tensor),
        "Cannot use w of " + FILE + ": it has type I8, expected F32, F16 or BF16");
  }

  @Test
  void refusesOtherNumbersOfDimensions() throws IOException {
    TensorRef vector = stored(DType.F32, new float[4], 4);
    refuses(() -> reader.readMatrix(vector), "it has shape [4], expected 2 dimensions");
    refuses(() -> reader.readRows(vector, new long[1], (row, x) -> {}), "expected 2 dimensions");
    TensorRef matrix = stored(DType.F32, new float[4], 2, 2);
    refuses(() -> reader.readVector(matrix), "it has shape [2, 2], expected 1 dimensions");
  }

  @Test
  void refusesRowsThatNoArrayHolds() {
    refuses(
        () -> reader.readMatrix(new TensorRef("w", FILE, DType.F32, List.of(0L, 1L << 40), 0, 0)),
        "a row of 1099511627776 elements does not fit into memory");
    refuses(
        () -> reader.readMatrix(new TensorRef("w", FILE, DType.F32, List.of(3L, 0L), 0, 0)),
        "its rows are empty, shape [3, 0]");
    refuses(
        () ->
            reader.readVector(new TensorRef("w", FILE, DType.F32, List.of(1L << 40), 0, 1L << 42)),
        "does not fit into memory");
  }

  @Test
  void namesFileAndTensorWhenTheFileBecameShorter() throws IOException {
    TensorRef tensor = stored(DType.F32, new float[6], 2, 3);
    storage.cut(FILE, 5);
    long end = tensor.position() + 24;
    String message =
        "Cannot read w of "
            + FILE
            + ": it should end at byte "
            + end
            + ", but the file has "
            + (end - 5)
            + " bytes";
    refuses(() -> reader.readMatrix(tensor), message);
    refuses(() -> reader.readRows(tensor, new long[] {1}, (row, x) -> {}), message);
    refuses(() -> reader.copy(tensor, new ByteArrayOutputStream()), message);
  }

  @Test
  void leavesMissingFilesToTheCaller() {
    TensorRef tensor = new TensorRef("w", "gone", DType.F32, List.of(1L, 1L), 0, 4);
    assertThatThrownBy(() -> reader.readMatrix(tensor))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessageContaining("gone");
  }

  @Test
  void keepsFilesOpenUntilItIsClosed() throws IOException {
    TensorRef tensor = stored(DType.F32, new float[4], 2, 2);
    storage.opened = 0;
    storage.closed = 0;
    reader.readMatrix(tensor).close();
    reader.readMatrix(tensor).close();
    rows(tensor, 1);
    assertThat(storage.opened).isEqualTo(1);
    assertThat(storage.closed).isZero();
    reader.close();
    assertThat(storage.closed).isEqualTo(1);
  }

  private Map<Long, float[]> rows(TensorRef tensor, long... rows) throws IOException {
    Map<Long, float[]> found = new TreeMap<>();
    List<Long> order = new ArrayList<>();
    reader.readRows(
        tensor,
        rows,
        (row, values) -> {
          found.put(row, values.clone());
          order.add(row);
        });
    assertThat(order).containsExactlyElementsOf(LongStream.of(rows).boxed().toList());
    return found;
  }

  /** A tensor w of these values, between two others. */
  private TensorRef stored(DType type, float[] values, long... shape) throws IOException {
    byte[] bytes = new byte[values.length * type.bytes()];
    type.narrow(values, values.length, bytes, 0);
    Entry other = new Entry("o", DType.U8, List.of(3L), out -> out.write(new byte[] {-1, -1, -1}));
    Entry another = new Entry("p", DType.U8, List.of(0L), out -> {});
    SafetensorsWriter.write(
        storage,
        FILE,
        List.of(
            other,
            another,
            new Entry("w", type, LongStream.of(shape).boxed().toList(), out -> out.write(bytes))));
    List<TensorRef> tensors = SafetensorsFile.open(storage, FILE).tensors();
    storage.reads.clear();
    return tensors.stream().filter(t -> t.name().equals("w")).findFirst().orElseThrow();
  }

  /** Numbers that the type holds exactly. */
  private static float[] values(int count, DType type) {
    Random random = new Random(count);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    byte[] narrow = new byte[count * type.bytes()];
    type.narrow(values, count, narrow, 0);
    type.widen(narrow, 0, values, count);
    return values;
  }

  private static void refuses(ThrowingCallable read, String fragment) {
    assertThatThrownBy(read)
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining(fragment);
  }
}
