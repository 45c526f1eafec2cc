package ai.owl.calibration;

import ai.owl.checkpoint.Storage;
import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;

/**
 * The documents of one or several text locations, numbered in the order in which they were read.
 * They lie decompressed in a temporary file of this machine, so that any of them can be fetched
 * although all together may be larger than memory; {@link #close} gives that space back.
 *
 * <p>Empty documents count: the published evaluation joins them too. Halves of surrogate pairs that
 * stand alone are replaced by U+FFFD.
 */
public final class TextDocuments implements Closeable {
  /** The largest text that still fits a Java string and the native tokenizer's view of it. */
  static final int MAX_TEXT_BYTES = 1 << 30;

  private final String source;
  private final FileChannel spool;
  private final long[] ends; // ends[i]: where document i ends and document i + 1 begins

  private TextDocuments(String source, FileChannel spool, long[] ends) {
    this.source = source;
    this.spool = spool;
    this.ends = ends;
  }

  /**
   * Reads plain text and JSON lines, as {@link DocumentSource#of} understands them.
   *
   * @throws IllegalArgumentException if the locations hold no text at all
   */
  public static TextDocuments read(Storage storage, List<String> locations) throws IOException {
    return read(locations.stream().map(location -> DocumentSource.of(storage, location)).toList());
  }

  /**
   * Reads sources of any kind, in the order given.
   *
   * @throws IllegalArgumentException if they hold no text at all
   */
  public static TextDocuments read(List<? extends DocumentSource> sources) throws IOException {
    if (sources.isEmpty()) {
      throw new IllegalArgumentException("Cannot use text: no location was given");
    }
    String source =
        sources.stream().map(DocumentSource::location).collect(Collectors.joining(", "));
    Spool spool = new Spool(source);
    try {
      for (DocumentSource documents : sources) {
        documents.forEach(spool::add);
      }
      return spool.finish();
    } catch (UncheckedIOException e) {
      spool.discard();
      throw e.getCause();
    } catch (IOException | RuntimeException | Error e) {
      spool.discard();
      throw e;
    }
  }

  /** Where the documents came from, as messages name it. */
  public String source() {
    return source;
  }

  /** Number of documents. */
  public int count() {
    return ends.length;
  }

  /** Size of document {@code i} in UTF-8. */
  long bytes(int i) {
    return ends[i] - start(i);
  }

  /** Document {@code i}. May be called by several threads at once. */
  public String text(int i) {
    Objects.checkIndex(i, ends.length);
    ByteBuffer bytes = ByteBuffer.allocate((int) bytes(i));
    long start = start(i);
    try {
      while (bytes.hasRemaining()) {
        if (spool.read(bytes, start + bytes.position()) < 0) {
          throw new EOFException(
              "Cannot read document " + i + " of " + source + ": its temporary file was cut");
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new String(bytes.array(), StandardCharsets.UTF_8);
  }

  /**
   * All documents as one text, with {@code separator} between neighbours.
   *
   * @throws IllegalArgumentException if that would be more than 1 GiB
   */
  public String joined(String separator) {
    int between = separator.getBytes(StandardCharsets.UTF_8).length;
    long bytes = ends[ends.length - 1] + (ends.length - 1L) * between;
    if (bytes > MAX_TEXT_BYTES) {
      throw new IllegalArgumentException(
          "Cannot join the documents of "
              + source
              + ": together they have "
              + bytes
              + " bytes, more than the "
              + MAX_TEXT_BYTES
              + " that can be tokenized as one text; give less text");
    }
    StringBuilder all = new StringBuilder((int) bytes);
    for (int i = 0; i < ends.length; i++) {
      all.append(i == 0 ? "" : separator).append(text(i));
    }
    return all.toString();
  }

  private long start(int i) {
    return i == 0 ? 0 : ends[i - 1];
  }

  @Override
  public void close() {
    closeQuietly(spool);
  }

  @Override
  public String toString() {
    return count() + " documents of " + source;
  }

  private static void closeQuietly(FileChannel spool) {
    try {
      spool.close();
    } catch (IOException ignored) {
      // Nothing is lost: the file is temporary and has been read.
    }
  }

  /** The temporary file while it grows. */
  private static final class Spool {
    private final String source;
    private final FileChannel file;
    private final OutputStream out;
    private long[] ends = new long[16];
    private int count;
    private long size;
    private boolean blank = true;

    Spool(String source) throws IOException {
      this.source = source;
      Path path = Files.createTempFile("owl-text-", ".utf8");
      // With DELETE_ON_CLOSE the name is gone at once on Unix, so that even a killed process
      // leaves nothing behind.
      file =
          FileChannel.open(
              path,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE,
              StandardOpenOption.DELETE_ON_CLOSE);
      out = new BufferedOutputStream(Channels.newOutputStream(file), 1 << 20);
    }

    void add(String text) {
      blank = blank && text.isBlank();
      byte[] utf8 = Surrogates.replaceLone(text).getBytes(StandardCharsets.UTF_8);
      if (utf8.length > MAX_TEXT_BYTES) {
        throw new IllegalArgumentException(
            "Cannot use text "
                + source
                + ": document "
                + count
                + " has "
                + utf8.length
                + " bytes, more than the "
                + MAX_TEXT_BYTES
                + " that can be tokenized as one text");
      }
      try {
        out.write(utf8);
      } catch (IOException e) {
        throw new UncheckedIOException(cannotKeep(e));
      }
      if (count == ends.length) {
        ends = Arrays.copyOf(ends, 2 * count);
      }
      size += utf8.length;
      ends[count++] = size;
    }

    TextDocuments finish() throws IOException {
      if (blank) {
        throw new IllegalArgumentException("Cannot use text " + source + ": it holds no text");
      }
      try {
        out.flush();
      } catch (IOException e) {
        throw cannotKeep(e);
      }
      return new TextDocuments(source, file, Arrays.copyOf(ends, count));
    }

    private IOException cannotKeep(IOException e) {
      return new IOException(
          "Cannot keep the text of "
              + source
              + " in "
              + System.getProperty("java.io.tmpdir")
              + ": "
              + e.getMessage()
              + "; name a folder with more room with -Djava.io.tmpdir",
          e);
    }

    void discard() {
      closeQuietly(file);
    }
  }
}
