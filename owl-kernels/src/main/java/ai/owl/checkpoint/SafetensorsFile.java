package ai.owl.checkpoint;

import ai.owl.tensor.DType;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The header of a safetensors file: which tensors it holds, and where.
 *
 * <p>A file is 8 bytes (length N of the header, little-endian), N bytes of JSON ({@code {"name":
 * {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, …}}, padded with spaces), then the
 * elements of all tensors, little-endian, row-major, without gaps. Offsets count from {@link
 * #dataStart}.
 *
 * <p>What a header claims is checked when the file is {@linkplain #open opened}: once an instance
 * exists, every tensor lies inside the file, has exactly the bytes its type and shape need, and
 * shares none of them. Immutable.
 */
public final class SafetensorsFile {
  /** The most bytes a header may have, by the format's own definition. */
  static final int MAX_HEADER = 100_000_000;

  private static final int LENGTH_BYTES = 8;

  // PyTorch and NumPy stop at 64 dimensions; without a limit "[1,1,1,…]" takes many times the
  // header's size.
  private static final int MAX_DIMENSIONS = 64;

  private static final String METADATA = "__metadata__";

  // Names come from the file: interning or pooling them would fill tables that outlive it.
  private static final JsonFactory JSON =
      JsonFactory.builder()
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(8)
                  .maxNumberLength(40)
                  .maxStringLength(MAX_HEADER)
                  .build())
          .build();

  private final String location;
  private final long size;
  private final byte[] header;
  private final List<TensorRef> tensors;
  private final Map<String, String> metadata;

  private SafetensorsFile(
      String location,
      long size,
      byte[] header,
      List<TensorRef> tensors,
      Map<String, String> metadata) {
    this.location = location;
    this.size = size;
    this.header = header;
    this.tensors = tensors;
    this.metadata = metadata;
  }

  /**
   * Reads and checks the header of a file, and nothing else of it.
   *
   * @throws MalformedCheckpointException if the file is not a whole, well-formed safetensors file
   * @throws IOException if it cannot be read
   */
  public static SafetensorsFile open(Storage storage, String location) throws IOException {
    try (Storage.Reader reader = storage.open(location)) {
      long size = reader.size();
      if (size < LENGTH_BYTES) {
        throw malformed(
            location,
            "a safetensors file begins with the 8 bytes of its header's length, but this one has "
                + size
                + " bytes in all");
      }
      byte[] prefix = new byte[LENGTH_BYTES];
      reader.read(0, prefix, 0, LENGTH_BYTES);
      long length = ByteBuffer.wrap(prefix).order(ByteOrder.LITTLE_ENDIAN).getLong();
      if (length < 0 || length > MAX_HEADER) {
        throw malformed(
            location,
            "it claims a header of "
                + Long.toUnsignedString(length)
                + " bytes, more than the "
                + MAX_HEADER
                + " that safetensors allows"
                + (new String(prefix, StandardCharsets.ISO_8859_1).equals("version ")
                    ? "; it looks like a Git LFS pointer: fetch the file itself with git lfs pull"
                    : ""));
      }
      if (length > size - LENGTH_BYTES) {
        throw malformed(
            location,
            "it claims a header of "
                + length
                + " bytes, but only "
                + (size - LENGTH_BYTES)
                + " bytes follow; it is truncated or not a safetensors file");
      }
      byte[] header = new byte[(int) length];
      reader.read(LENGTH_BYTES, header, 0, header.length);
      return new Header(location, size, header).parse();
    } catch (EOFException e) {
      throw new MalformedCheckpointException(
          "Cannot read " + location + ": it became shorter while it was read", e);
    }
  }

  /** Location of the file. */
  public String location() {
    return location;
  }

  /** Size of the file in bytes. */
  public long size() {
    return size;
  }

  /**
   * The tensors in order of position in the file. Tensors without elements take no room: they stand
   * before the one that shares their position, by name.
   */
  public List<TensorRef> tensors() {
    return tensors;
  }

  /** What the writer noted about the file, such as {@code format} = {@code pt}; often empty. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** Byte position in the file of the first tensor's first element. */
  public long dataStart() {
    return LENGTH_BYTES + (long) header.length;
  }

  /** The header as it stands in the file, padding included; not to be changed. */
  byte[] header() {
    return header;
  }

  private static MalformedCheckpointException malformed(String location, String why) {
    return new MalformedCheckpointException("Cannot read " + location + ": " + why);
  }

  /** Text from a file, fit for a message: of bounded length, without control characters. */
  static String quoted(String text) {
    int limit = 200;
    String shown = text.length() <= limit ? text : text.substring(0, limit) + "…";
    return "'" + shown.replaceAll("\\p{Cntrl}", "?") + "'";
  }

  /** One pass over the header's JSON, then the checks that need all tensors. */
  private static final class Header {
    private record Span(String name, DType type, List<Long> shape, long begin, long end) {}

    private final String location;
    private final long size;
    private final byte[] header;
    private final long dataStart;
    private final List<Span> spans = new ArrayList<>();
    private Map<String, String> metadata = Map.of();
    private JsonParser json;
    private String entry; // the one being read, for messages

    Header(String location, long size, byte[] header) {
      this.location = location;
      this.size = size;
      this.header = header;
      this.dataStart = LENGTH_BYTES + (long) header.length;
    }

    SafetensorsFile parse() throws IOException {
      if (header.length == 0 || header[0] != '{') {
        throw fail("its header does not begin with '{'; it is not a safetensors file");
      }
      // A reader of our own: Jackson would guess UTF-16 from a header with NUL bytes in it, and
      // is lenient about malformed UTF-8. A decoder by default reports.
      try (JsonParser parser =
          JSON.createParser(
              new InputStreamReader(
                  new ByteArrayInputStream(header), StandardCharsets.UTF_8.newDecoder()))) {
        json = parser;
        parseObject();
      } catch (CharacterCodingException e) {
        throw new MalformedCheckpointException(
            "Cannot read " + location + ": its header is not UTF-8", e);
      } catch (JsonProcessingException e) {
        throw new MalformedCheckpointException(
            "Cannot read "
                + location
                + ": its header is not valid JSON"
                + (entry == null ? ": " : ", in or after the entry of " + quoted(entry) + ": ")
                + e.getOriginalMessage()
                + (e.getLocation() == null
                    ? ""
                    : " (at character " + e.getLocation().getCharOffset() + " of the header)"),
            e);
      }
      return new SafetensorsFile(location, size, header, place(), metadata);
    }

    private void parseObject() throws IOException {
      json.nextToken(); // '{', as the first byte says
      Set<String> names = new HashSet<>();
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = json.currentName();
        if (!names.add(name)) {
          throw fail("its header has " + quoted(name) + " twice");
        }
        entry = name;
        json.nextToken();
        if (name.equals(METADATA)) {
          metadata = parseMetadata();
        } else {
          spans.add(parseTensor(name));
        }
      }
      if (json.nextToken() != null) {
        throw fail(
            "its header goes on after the closing brace, with "
                + found()
                + " where only spaces may stand");
      }
    }

    private Map<String, String> parseMetadata() throws IOException {
      if (!json.hasToken(JsonToken.START_OBJECT)) {
        throw fail(METADATA + " of its header should be an object of strings, but is " + found());
      }
      Map<String, String> entries = new LinkedHashMap<>();
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String key = json.currentName();
        if (json.nextToken() != JsonToken.VALUE_STRING) {
          throw fail(
              METADATA
                  + " of its header should hold strings only, but "
                  + quoted(key)
                  + " is "
                  + found());
        }
        if (entries.put(key, json.getText()) != null) {
          throw fail(METADATA + " of its header has " + quoted(key) + " twice");
        }
      }
      return Collections.unmodifiableMap(entries);
    }

    private Span parseTensor(String name) throws IOException {
      if (!json.hasToken(JsonToken.START_OBJECT)) {
        throw fail(
            name,
            "should be an object with dtype, shape and data_offsets, but its entry is " + found());
      }
      DType type = null;
      List<Long> shape = null;
      List<Long> offsets = null;
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String key = json.currentName();
        json.nextToken();
        boolean twice;
        switch (key) {
          case "dtype" -> {
            twice = type != null;
            type = parseType(name);
          }
          case "shape" -> {
            twice = shape != null;
            shape = parseNumbers(name, key, MAX_DIMENSIONS);
          }
          case "data_offsets" -> {
            twice = offsets != null;
            offsets = parseNumbers(name, key, 2);
          }
          default ->
              throw fail(
                  name,
                  "has an unknown field "
                      + quoted(key)
                      + "; expected dtype, shape and data_offsets only");
        }
        if (twice) {
          throw fail(name, "has " + key + " twice");
        }
      }
      if (type == null) {
        throw fail(name, "has no dtype");
      }
      if (shape == null) {
        throw fail(name, "has no shape");
      }
      if (offsets == null) {
        throw fail(name, "has no data_offsets");
      }
      if (offsets.size() != 2) {
        throw fail(name, "should have two data_offsets, but has " + offsets);
      }
      long begin = offsets.get(0);
      long end = offsets.get(1);
      if (begin > end) {
        throw fail(name, "has data_offsets " + offsets + " that end before they begin");
      }
      long needed = bytes(name, type, shape);
      if (needed != end - begin) {
        throw fail(
            name,
            "of type "
                + type
                + " and shape "
                + shape
                + " needs "
                + needed
                + " bytes, but its data_offsets "
                + offsets
                + " span "
                + (end - begin));
      }
      return new Span(name, type, shape, begin, end);
    }

    private DType parseType(String name) throws IOException {
      if (!json.hasToken(JsonToken.VALUE_STRING)) {
        throw fail(name, "should have a string as its dtype, but has " + found());
      }
      String type = json.getText();
      return DType.parse(type)
          .orElseThrow(
              () ->
                  fail(
                      name,
                      "has the unknown dtype "
                          + quoted(type)
                          + "; known are "
                          + List.of(DType.values())));
    }

    private List<Long> parseNumbers(String name, String key, int limit) throws IOException {
      if (!json.hasToken(JsonToken.START_ARRAY)) {
        throw fail(name, "should have an array as its " + key + ", but has " + found());
      }
      List<Long> numbers = new ArrayList<>(4);
      while (json.nextToken() != JsonToken.END_ARRAY) {
        if (numbers.size() == limit) {
          throw fail(name, "has more than " + limit + " numbers in its " + key);
        }
        if (!json.hasToken(JsonToken.VALUE_NUMBER_INT) || json.getText().startsWith("-")) {
          throw fail(
              name,
              "should have whole numbers of at least 0 in its " + key + ", but has " + found());
        }
        if (json.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
          throw fail(name, "has " + found() + " in its " + key + ", which is beyond any file");
        }
        numbers.add(json.getLongValue());
      }
      return numbers;
    }

    private long bytes(String name, DType type, List<Long> shape) {
      try {
        long elements = 1;
        for (long length : shape) {
          elements = Math.multiplyExact(elements, length);
        }
        return Math.multiplyExact(elements, type.bytes());
      } catch (ArithmeticException e) {
        throw fail(
            name, "of type " + type + " and shape " + shape + " has more bytes than any file");
      }
    }

    /** Checks that the tensors fill the rest of the file, each byte once; gives them addresses. */
    private List<TensorRef> place() {
      spans.sort(
          Comparator.comparingLong(Span::begin)
              .thenComparingLong(Span::end)
              .thenComparing(Span::name));
      List<TensorRef> placed = new ArrayList<>(spans.size());
      long end = 0;
      String before = null;
      for (Span span : spans) {
        if (span.begin < end) {
          throw fail(
              span.name,
              "begins at data offset "
                  + span.begin
                  + ", inside of tensor "
                  + quoted(before)
                  + ", which ends at "
                  + end);
        }
        if (span.begin > end) {
          Span last = spans.get(spans.size() - 1);
          if (last.end > size - dataStart) {
            throw fail(
                last.name,
                "has data_offsets ["
                    + last.begin
                    + ", "
                    + last.end
                    + "], but only "
                    + (size - dataStart)
                    + " bytes follow the header");
          }
          throw fail(
              span.name,
              "begins at data offset "
                  + span.begin
                  + ", but "
                  + (before == null ? "the data begins at 0" : quoted(before) + " ends at " + end)
                  + ": the bytes between belong to no tensor");
        }
        end = span.end;
        before = span.name;
        // Cannot be used if it overflows: the check below then refuses the file.
        placed.add(
            new TensorRef(
                span.name,
                location,
                span.type,
                span.shape,
                dataStart + span.begin,
                span.end - span.begin));
      }
      long held = size - dataStart;
      if (end > held) {
        throw fail(
            "it is truncated: its tensors need "
                + end
                + " bytes, up to the end of "
                + quoted(before)
                + ", but only "
                + held
                + " follow the header; "
                + (end - held)
                + " bytes are missing");
      }
      if (end < held) {
        throw fail(
            "its tensors end at byte "
                + (dataStart + end)
                + ", but the file has "
                + size
                + " bytes: the last "
                + (held - end)
                + " belong to no tensor");
      }
      return List.copyOf(placed);
    }

    private String found() throws IOException {
      JsonToken token = json.currentToken();
      if (token == null) {
        return "nothing";
      }
      return switch (token) {
        case START_OBJECT -> "an object";
        case START_ARRAY -> "an array";
        case VALUE_STRING -> "the string " + quoted(json.getText());
        case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT, VALUE_TRUE, VALUE_FALSE, VALUE_NULL ->
            json.getText();
        default -> quoted(json.getText());
      };
    }

    private MalformedCheckpointException fail(String tensor, String why) {
      return fail("tensor " + quoted(tensor) + " " + why);
    }

    private MalformedCheckpointException fail(String why) {
      return malformed(location, why);
    }
  }
}
