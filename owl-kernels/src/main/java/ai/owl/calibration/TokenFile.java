package ai.owl.calibration;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.SafetensorsFile;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorRef;
import ai.owl.tensor.DType;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Token ids as numbers in a safetensors file: a tensor of type I64 or I32 and shape [sequences,
 * length]. They are used as they are, for tokenizers that cannot be run here and for repeating what
 * another program was shown.
 */
public final class TokenFile {
  /** Name of the tensor that calibration reads. */
  public static final String CALIBRATION = "calibration";

  /** Name of the tensor that evaluation reads. */
  public static final String EVALUATION = "evaluation";

  private static final int CHUNK_BYTES = 1 << 20;

  private TokenFile() {}

  /**
   * Reads the sequences of the tensor named {@code name}.
   *
   * @throws MalformedCheckpointException if there is no such tensor, or if it holds anything but
   *     token ids
   */
  public static TokenSequences read(Storage storage, String location, String name)
      throws IOException {
    TensorRef tensor = find(SafetensorsFile.open(storage, location), name);
    DType type = tensor.type();
    List<Long> shape = tensor.shape();
    if (type != DType.I64 && type != DType.I32) {
      throw unusable(tensor, "has type " + type + ", but token ids are I64 or I32");
    }
    if (shape.size() != 2 || tensor.elements() == 0) {
      throw unusable(tensor, "has shape " + shape + ", but token ids have [sequences, length]");
    }
    long count = shape.get(0);
    long length = shape.get(1);
    if (count > Integer.MAX_VALUE || length > Integer.MAX_VALUE - 8) {
      throw unusable(tensor, "has shape " + shape + ", which does not fit into memory");
    }
    List<int[]> sequences = new ArrayList<>();
    try (Storage.Reader file = storage.open(location)) {
      byte[] bytes = new byte[(int) Math.min(CHUNK_BYTES, length * type.bytes())];
      long position = tensor.position();
      for (int sequence = 0; sequence < count; sequence++) {
        int[] ids = new int[(int) length];
        for (int read = 0; read < ids.length; ) {
          int ending = Math.min(ids.length, read + bytes.length / type.bytes());
          int size = (ending - read) * type.bytes();
          file.read(position, bytes, 0, size);
          position += size;
          ByteBuffer values = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
          for (; read < ending; read++) {
            long id = type == DType.I64 ? values.getLong() : values.getInt();
            if (id < 0 || id > Integer.MAX_VALUE) {
              throw unusable(
                  tensor,
                  "holds "
                      + id
                      + " at ["
                      + sequence
                      + ", "
                      + read
                      + "], but token ids are numbers from 0 to "
                      + Integer.MAX_VALUE);
            }
            ids[read] = (int) id;
          }
        }
        sequences.add(ids);
      }
    } catch (EOFException e) {
      throw new MalformedCheckpointException(
          "Cannot read " + location + ": it became shorter while it was read", e);
    }
    return TokenSequences.of(sequences);
  }

  private static TensorRef find(SafetensorsFile file, String name) {
    for (TensorRef tensor : file.tensors()) {
      if (tensor.name().equals(name)) {
        return tensor;
      }
    }
    String present =
        file.tensors().stream()
            .limit(8)
            .map(tensor -> "'" + tensor.name() + "'")
            .collect(Collectors.joining(", "));
    int more = file.tensors().size() - 8;
    throw new MalformedCheckpointException(
        "Cannot read token ids from "
            + file.location()
            + ": it has no tensor '"
            + name
            + "'; there is "
            + (present.isEmpty() ? "none at all" : present)
            + (more > 0 ? " and " + more + " more" : ""));
  }

  private static MalformedCheckpointException unusable(TensorRef tensor, String why) {
    return new MalformedCheckpointException(
        "Cannot read token ids from " + tensor.file() + ": tensor '" + tensor.name() + "' " + why);
  }
}
