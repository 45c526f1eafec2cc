package ai.owl.spark.storage;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.UnfinishedFile;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.file.FileSystemException;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileContext;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.StreamCapabilities;

/**
 * Any file system that Hadoop's configuration knows. Local files go through {@link LocalStorage},
 * because Hadoop's local file system leaves checksum files beside everything it writes.
 *
 * <p>A file appears whole in two ways. Object stores publish an object when its stream is closed,
 * so it is written under its own name and nothing is ever renamed there. Where renaming is atomic
 * (HDFS and its kin) a file is written beside its place and moved over it.
 *
 * <p>What goes wrong is told with the location as the user gave it, in the exceptions that local
 * files have too: {@link FileNotFoundException} and the {@link FileSystemException}s.
 */
public final class HadoopStorage implements Storage {
  private static final long serialVersionUID = 1;

  private static final Set<String> ATOMIC_RENAME =
      Set.of("hdfs", "viewfs", "webhdfs", "swebhdfs", "abfs", "abfss");

  private final LocalStorage local = new LocalStorage();
  private transient Configuration configuration;

  /**
   * Storage with the settings of {@code configuration}, and for what it leaves to Hadoop's
   * defaults, bounded patience and the standard chain of credentials; not a view of it.
   */
  public HadoopStorage(Configuration configuration) {
    this.configuration = AwsClient.completed(Patience.bounded(configuration));
  }

  @Override
  public Reader open(String location) throws IOException {
    Path path = path(location);
    if (isLocal(location, path)) {
      return local.open(location);
    }
    return StorageFailures.naming(
        location,
        () -> {
          FileSystem files = files(location, path);
          FileStatus status = files.getFileStatus(path);
          if (status.isDirectory()) {
            throw new FileNotFoundException(location + ": it is a folder");
          }
          // Tensors are read in large pieces from known positions: a read should ask for its piece
          // and no more.
          FSDataInputStream in =
              get(
                  files
                      .openFile(path)
                      .opt("fs.option.openfile.read.policy", "random")
                      .opt("fs.option.openfile.length", Long.toString(status.getLen()))
                      .build());
          return new HadoopReader(location, in, status.getLen());
        });
  }

  private static FSDataInputStream get(CompletableFuture<FSDataInputStream> opening)
      throws IOException {
    try {
      return opening.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("Interrupted while opening a file", e);
    } catch (ExecutionException e) {
      throw e.getCause() instanceof IOException io ? io : new IOException(e.getCause());
    }
  }

  private record HadoopReader(String location, FSDataInputStream in, long size) implements Reader {
    @Override
    public void read(long position, byte[] target, int offset, int length) throws IOException {
      if (length > size - position) {
        throw new EOFException(location + " ends before byte " + (position + length));
      }
      if (length > 0) {
        StorageFailures.naming(
            location,
            () -> {
              in.readFully(position, target, offset, length);
              return null;
            });
      }
    }

    @Override
    public void close() throws IOException {
      in.close();
    }
  }

  @Override
  public FileStream create(String location) throws IOException {
    Path target = path(location);
    if (isLocal(location, target)) {
      return local.create(location);
    }
    return StorageFailures.naming(
        location,
        () -> {
          FileSystem files = files(location, target);
          if (!ATOMIC_RENAME.contains(files.getUri().getScheme())) {
            return new Written(location, files, target, files.create(target, true));
          }
          Path part = unfinished(location, target);
          return new Moved(location, files, part, target, files.create(part, true));
        });
  }

  /** A file that is written under a name of its own; published by {@link #publish}. */
  private abstract static class HadoopFileStream extends FileStream {
    final String location;
    final FileSystem files;
    final Path written;
    final FSDataOutputStream out;
    private boolean ended;

    HadoopFileStream(String location, FileSystem files, Path written, FSDataOutputStream out) {
      this.location = location;
      this.files = files;
      this.written = written;
      this.out = out;
    }

    abstract void publish() throws IOException;

    abstract void discard() throws IOException;

    @Override
    public void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      StorageFailures.naming(
          location,
          () -> {
            out.write(bytes, offset, length);
            return null;
          });
    }

    @Override
    public void close() throws IOException {
      if (ended) {
        return;
      }
      ended = true;
      StorageFailures.naming(
          location,
          () -> {
            publish();
            return null;
          });
    }

    @Override
    public void abort() {
      if (ended) {
        return;
      }
      ended = true;
      try {
        discard();
      } catch (IOException | RuntimeException ignored) {
        // Best effort: on HDFS a leftover's name says that it is one; elsewhere no index names it.
      }
    }

    /** Ends the stream whatever becomes of that, and removes what it wrote. */
    void delete() throws IOException {
      try {
        out.close();
      } finally {
        files.delete(written, false);
      }
    }
  }

  /** Published when the stream is closed. */
  private static final class Written extends HadoopFileStream {
    Written(String location, FileSystem files, Path target, FSDataOutputStream out) {
      super(location, files, target, out);
    }

    @Override
    void publish() throws IOException {
      out.close();
    }

    @Override
    void discard() throws IOException {
      if (out.hasCapability(StreamCapabilities.ABORTABLE_STREAM)) {
        out.abort();
      } else {
        delete();
      }
    }
  }

  /** Published by moving it to its place. */
  private final class Moved extends HadoopFileStream {
    private final Path target;

    Moved(String location, FileSystem files, Path part, Path target, FSDataOutputStream out) {
      super(location, files, part, out);
      this.target = target;
    }

    @Override
    void publish() throws IOException {
      try {
        out.hsync();
        out.close();
        FileContext.getFileContext(files.getUri(), configuration)
            .rename(
                files.makeQualified(written),
                files.makeQualified(target),
                Options.Rename.OVERWRITE);
      } catch (IOException | RuntimeException e) {
        try {
          discard();
        } catch (IOException | RuntimeException also) {
          e.addSuppressed(also);
        }
        throw e;
      }
    }

    @Override
    void discard() throws IOException {
      delete();
    }
  }

  /**
   * {@inheritDoc}
   *
   * <p>Of several writers one alone succeeds on HDFS and its kin, and on S3 where {@link NewObject}
   * can ask the store itself. Any other store is asked first and written then: two that do so at
   * the same moment both succeed, and what the last one wrote stays.
   */
  @Override
  public boolean writeNew(String location, byte[] content) throws IOException {
    Path path = path(location);
    if (isLocal(location, path)) {
      return local.writeNew(location, content);
    }
    return StorageFailures.naming(
        location,
        () -> {
          FileSystem files = files(location, path);
          if (ATOMIC_RENAME.contains(files.getUri().getScheme())) {
            return moveNew(location, files, path, content);
          }
          if (files.exists(path)) {
            return false;
          }
          Optional<Boolean> decided = NewObject.put(files, path, content);
          return decided.isPresent() ? decided.get() : createNew(location, files, path, content);
        });
  }

  /** Writes a file unless its file system says that there is one. */
  private static boolean createNew(String location, FileSystem files, Path path, byte[] content)
      throws IOException {
    try {
      FSDataOutputStreamBuilder<?, ?> builder = files.createFile(path);
      // The option is S3A's own, from Hadoop 3.4.2 on.
      FSDataOutputStream out =
          builder
              .overwrite(false)
              .recursive()
              .opt("fs.option.create.conditional.overwrite", "true")
              .build();
      writeAll(new Written(location, files, path, out), content);
      return true;
    } catch (FileAlreadyExistsException | java.nio.file.FileAlreadyExistsException taken) {
      return false;
    }
  }

  private static void writeAll(FileStream out, byte[] content) throws IOException {
    try {
      out.write(content);
    } catch (IOException | RuntimeException e) {
      out.abort();
      throw e;
    }
    out.close();
  }

  /** Writes a file beside its place and moves it there, unless there is one. */
  private boolean moveNew(String location, FileSystem files, Path target, byte[] content)
      throws IOException {
    Path part = unfinished(location, target);
    try (FSDataOutputStream out = files.create(part, false)) {
      out.write(content);
      out.hsync();
    }
    try {
      FileContext.getFileContext(files.getUri(), configuration)
          .rename(files.makeQualified(part), files.makeQualified(target), Options.Rename.NONE);
      return true;
    } catch (FileAlreadyExistsException taken) {
      files.delete(part, false);
      return false;
    }
  }

  /** The name of a file while it is written. */
  private static Path unfinished(String location, Path target) throws FileSystemException {
    if (target.getParent() == null) {
      throw new FileSystemException(location, null, "it is a folder");
    }
    return new Path(target.getParent(), UnfinishedFile.nameFor(target.getName()));
  }

  @Override
  public void deleteUnfinished(String folder) throws IOException {
    Path path = path(folder);
    if (isLocal(folder, path)) {
      local.deleteUnfinished(folder);
      return;
    }
    StorageFailures.naming(
        folder,
        () -> {
          FileSystem files = files(folder, path);
          if (ATOMIC_RENAME.contains(files.getUri().getScheme())) {
            for (Path entry : paths(files, path)) {
              if (UnfinishedFile.is(entry.getName())) {
                files.delete(entry, false);
              }
            }
          }
          return null;
        });
  }

  @Override
  public List<String> list(String folder) throws IOException {
    Path path = path(folder);
    if (isLocal(folder, path)) {
      return local.list(folder);
    }
    return StorageFailures.naming(folder, () -> list(files(folder, path), path));
  }

  private static List<String> list(FileSystem files, Path path) throws IOException {
    return paths(files, path).stream()
        .map(Path::getName)
        .filter(name -> !UnfinishedFile.is(name))
        .sorted()
        .toList();
  }

  private static List<Path> paths(FileSystem files, Path path) throws IOException {
    FileStatus[] entries;
    try {
      entries = files.listStatus(path);
    } catch (FileNotFoundException none) {
      return List.of();
    }
    Path itself = files.makeQualified(path); // what a file is listed as
    return Arrays.stream(entries)
        .map(FileStatus::getPath)
        .filter(entry -> !entry.equals(itself))
        .toList();
  }

  @Override
  public boolean exists(String location) throws IOException {
    Path path = path(location);
    if (isLocal(location, path)) {
      return local.exists(location);
    }
    return StorageFailures.naming(
        location,
        () -> {
          FileSystem files = files(location, path);
          try {
            return files.getFileStatus(path).isFile() || !list(files, path).isEmpty();
          } catch (FileNotFoundException none) {
            return false;
          }
        });
  }

  @Override
  public boolean isFolder(String location) throws IOException {
    Path path = path(location);
    if (isLocal(location, path)) {
      return local.isFolder(location);
    }
    return StorageFailures.naming(
        location,
        () -> {
          try {
            return files(location, path).getFileStatus(path).isDirectory();
          } catch (FileNotFoundException none) {
            return false;
          }
        });
  }

  @Override
  public void delete(String location) throws IOException {
    Path path = path(location);
    if (isLocal(location, path)) {
      local.delete(location);
      return;
    }
    StorageFailures.naming(
        location,
        () -> {
          try {
            return files(location, path).delete(path, true);
          } catch (FileNotFoundException none) {
            return false;
          }
        });
  }

  @Override
  public String canonical(String location) throws IOException {
    Path path = path(location);
    return isLocal(location, path)
        ? local.canonical(location)
        : StorageFailures.naming(
            location,
            () ->
                files(location, path)
                    .makeQualified(path)
                    .toUri()
                    .normalize()
                    .toString()
                    .replaceAll("/+$", ""));
  }

  @Override
  public String stamp(String location) throws IOException {
    Path path = path(location);
    if (isLocal(location, path)) {
      return local.stamp(location);
    }
    return StorageFailures.naming(
        location,
        () -> {
          FileStatus status = files(location, path).getFileStatus(path);
          return status.getLen() + " " + status.getModificationTime();
        });
  }

  private FileSystem files(String location, Path path) throws IOException {
    return StorageFailures.connecting(location, () -> path.getFileSystem(configuration));
  }

  private static Path path(String location) throws IOException {
    StorageFailures.refusePassword(location);
    Path path;
    try {
      path = new Path(location);
    } catch (IllegalArgumentException e) {
      throw new FileSystemException(location, null, "it is neither a path nor a URI");
    }
    // Hadoop takes s3a://bucket for the user's home folder in it.
    return path.toUri().getAuthority() != null && path.toUri().getPath().isEmpty()
        ? new Path(path, "/")
        : path;
  }

  /** Whether a location is this machine's; {@link LocalStorage} then takes it as it was given. */
  private boolean isLocal(String location, Path path) throws IOException {
    String scheme = path.toUri().getScheme();
    if (scheme == null) {
      return FileSystem.getDefaultUri(configuration).getScheme().equals("file");
    }
    if (scheme.equals("file") && path.toUri().getAuthority() != null) {
      throw new FileSystemException(
          location, null, "a file URI has one slash or three, as in file:///folder");
    }
    return scheme.equals("file");
  }

  private void writeObject(ObjectOutputStream out) throws IOException {
    out.defaultWriteObject();
    configuration.write(out);
  }

  private void readObject(ObjectInputStream in) throws IOException, ClassNotFoundException {
    in.defaultReadObject();
    configuration = new Configuration(false);
    configuration.readFields(in);
    AwsClient.completed(configuration);
  }
}
