package ai.owl.calibration;

import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/** Plain text and JSON lines, as they are or gzipped. */
record TextFile(Storage storage, String location) implements DocumentSource {
  // Jackson's own limit of 20 million characters is less than a long book list; a document's size
  // is limited by TextDocuments.
  private static final JsonFactory JSON =
      JsonFactory.builder()
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .streamReadConstraints(
              StreamReadConstraints.builder().maxStringLength(Integer.MAX_VALUE).build())
          .build();

  private static final JsonMapper RECORDS =
      JsonMapper.builder(JSON).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

  private static final String KNOWN_FORMATS =
      "text is read from .txt, .jsonl and .parquet, plain or gzipped";

  /** What is done with a line that is not blank; {@code number} counts from 1. */
  private interface LineConsumer {
    void accept(long number, String line) throws IOException;
  }

  @Override
  public void forEach(Consumer<String> documents) throws IOException {
    read(
        content -> {
          if (isJsonLines()) {
            forEachLine(content, (number, line) -> documents.accept(textField(line, number)));
          } else {
            wholeFile(content, documents);
          }
        });
  }

  /** Hands over the object on every line that is not blank. */
  void forEachObject(RecordSource.RecordConsumer records) throws IOException {
    if (!isJsonLines()) {
      throw new IllegalArgumentException(
          cannotRead() + "records are read from .jsonl, .json and .parquet, plain or gzipped");
    }
    read(
        content ->
            forEachLine(
                content, (number, line) -> records.accept("line " + number, object(line, number))));
  }

  private JsonNode object(String line, long number) throws IOException {
    JsonNode json;
    try {
      json = RECORDS.readTree(line);
    } catch (JsonProcessingException e) {
      throw malformed(number, "is not JSON: " + complaint(e));
    }
    if (!json.isObject()) {
      throw malformed(number, "is not a JSON object; one is expected on every line");
    }
    return json;
  }

  private boolean isJsonLines() {
    return name().endsWith(".jsonl") || name().endsWith(".json");
  }

  /** In lower case, without {@code .gz}. */
  private String name() {
    String name = location.toLowerCase(Locale.ROOT);
    return name.endsWith(".gz") ? name.substring(0, name.length() - ".gz".length()) : name;
  }

  private interface Reading {
    void of(InputStream content) throws IOException;
  }

  private void read(Reading reading) throws IOException {
    String name = name();
    if (name.endsWith(".parquet")) {
      throw new IllegalArgumentException(
          cannotRead()
              + "Parquet is read by the Spark command line (submit/owl); give .txt or .jsonl here");
    }
    if (name.endsWith(".safetensors")) {
      throw new IllegalArgumentException(
          cannotRead() + "it holds token ids where text is expected");
    }
    try (InputStream file = new StorageInputStream(storage.open(location));
        InputStream content = decompressed(file)) {
      reading.of(content);
    }
  }

  /** Recognised by its first bytes: names lie more often than magic numbers. */
  private InputStream decompressed(InputStream file) throws IOException {
    InputStream peekable = new BufferedInputStream(file);
    peekable.mark(2);
    boolean gzipped = peekable.read() == 0x1f && peekable.read() == 0x8b;
    peekable.reset();
    return gzipped ? new Unzipped(peekable, cannotRead()) : peekable;
  }

  private void wholeFile(InputStream content, Consumer<String> documents) throws IOException {
    byte[] bytes = content.readNBytes(TextDocuments.MAX_TEXT_BYTES + 1);
    if (bytes.length > TextDocuments.MAX_TEXT_BYTES) {
      throw new IllegalArgumentException(
          cannotRead()
              + "it is one document of more than "
              + TextDocuments.MAX_TEXT_BYTES
              + " bytes; give JSON lines with a document in each");
    }
    if (bytes.length > 0) {
      documents.accept(withoutMark(decode(bytes, bytes.length, 0)));
    }
  }

  private void forEachLine(InputStream content, LineConsumer lines) throws IOException {
    byte[] line = new byte[1 << 16];
    int length = 0;
    long number = 1;
    byte[] chunk = new byte[1 << 16];
    for (int count; (count = content.read(chunk)) >= 0; ) {
      int from = 0;
      for (int at = 0; at < count; at++) {
        if (chunk[at] == '\n') {
          line = append(line, length, chunk, from, at - from, number);
          parse(line, length + at - from, number++, lines);
          length = 0;
          from = at + 1;
        }
      }
      line = append(line, length, chunk, from, count - from, number);
      length += count - from;
    }
    parse(line, length, number, lines);
  }

  private byte[] append(byte[] line, int length, byte[] chunk, int from, int count, long number) {
    if (length + count > TextDocuments.MAX_TEXT_BYTES) {
      throw new IllegalArgumentException(
          cannotRead()
              + "line "
              + number
              + " has more than "
              + TextDocuments.MAX_TEXT_BYTES
              + " bytes; give one JSON object per line");
    }
    byte[] grown = line;
    if (length + count > line.length) {
      grown = Arrays.copyOf(line, Math.max(length + count, 2 * line.length));
    }
    System.arraycopy(chunk, from, grown, length, count);
    return grown;
  }

  private void parse(byte[] bytes, int length, long number, LineConsumer lines) throws IOException {
    String line = decode(bytes, length, number);
    if (number == 1) {
      line = withoutMark(line);
    }
    if (line.isBlank()) {
      return;
    }
    lines.accept(number, line);
  }

  private static String complaint(JsonProcessingException e) {
    return e.getOriginalMessage().replaceFirst("(?s) at \\[Source.*| \\(start marker.*", "")
        + "; one object is expected on every line";
  }

  private String textField(String line, long number) throws IOException {
    String text = null;
    JsonToken found = null;
    try (JsonParser parser = JSON.createParser(line)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw malformed(number, "is not a JSON object; one is expected on every line");
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        boolean wanted = parser.currentName().equals("text");
        JsonToken value = parser.nextToken();
        if (wanted) {
          found = value;
          text = value == JsonToken.VALUE_STRING ? parser.getText() : null;
        }
        parser.skipChildren();
      }
      if (parser.nextToken() != null) {
        throw malformed(
            number, "has more than one JSON value; one object is expected on every line");
      }
    } catch (JsonProcessingException e) {
      throw malformed(number, "is not JSON: " + complaint(e));
    }
    if (found == null) {
      throw malformed(number, "has no field \"text\"");
    }
    if (text == null) {
      throw malformed(number, "has a field \"text\" that is not a string");
    }
    return text;
  }

  /** Decodes strictly. Line 0 stands for the whole file. */
  private String decode(byte[] bytes, int length, long line) {
    String text = new String(bytes, 0, length, StandardCharsets.UTF_8);
    if (text.indexOf('\ufffd') < 0) {
      return text;
    }
    // The replacement character was in the file, or stands for bytes that are not UTF-8: only the
    // slower decoder tells which.
    CharsetDecoder decoder =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    ByteBuffer source = ByteBuffer.wrap(bytes, 0, length);
    CharBuffer ignored = CharBuffer.allocate(1 << 16);
    while (true) {
      var result = decoder.decode(source, ignored, true);
      if (result.isError()) {
        String where = line == 0 ? "byte " : "line " + line + ", byte ";
        throw new MalformedCheckpointException(
            cannotRead() + where + source.position() + " is not UTF-8; " + KNOWN_FORMATS);
      }
      if (result.isUnderflow()) {
        return text;
      }
      ignored.clear();
    }
  }

  /** A byte order mark is a note on the encoding and no part of the text. */
  private static String withoutMark(String text) {
    return text.startsWith("\ufeff") ? text.substring(1) : text;
  }

  private MalformedCheckpointException malformed(long line, String what) {
    return new MalformedCheckpointException(cannotRead() + "line " + line + " " + what);
  }

  private String cannotRead() {
    return "Cannot read " + location + ": ";
  }

  /** Tells a damaged gzip file from a storage that fails. */
  private static final class Unzipped extends InputStream {
    private final Members gzip;
    private final String cannotRead;

    Unzipped(InputStream file, String cannotRead) throws IOException {
      this.cannotRead = cannotRead;
      try {
        gzip = new Members(file);
      } catch (ZipException | EOFException e) {
        throw damaged(e);
      }
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] target, int offset, int length) throws IOException {
      try {
        int count = gzip.read(target, offset, length);
        if (count < 0 && gzip.isFollowed()) {
          throw new ZipException("something else follows its last member");
        }
        return count;
      } catch (ZipException | EOFException e) {
        throw damaged(e);
      }
    }

    private MalformedCheckpointException damaged(IOException e) {
      return new MalformedCheckpointException(
          cannotRead
              + "it is not a whole gzip file: "
              + (e instanceof EOFException ? "it ends too early" : e.getMessage()),
          e);
    }

    @Override
    public void close() throws IOException {
      gzip.close();
    }

    /** Java's reader takes a member with a damaged beginning for the end of the file. */
    private static final class Members extends GZIPInputStream {
      private static final int TRAILER = 8;

      Members(InputStream file) throws IOException {
        super(file, 1 << 16);
      }

      /** Whether anything but zeros, which some tools pad with, comes after the last member. */
      boolean isFollowed() throws IOException {
        for (int at = len - inf.getRemaining() + TRAILER; at < len; at++) {
          if (buf[at] != 0) {
            return true;
          }
        }
        for (int next; (next = in.read()) >= 0; ) {
          if (next != 0) {
            return true;
          }
        }
        return false;
      }
    }
  }
}
