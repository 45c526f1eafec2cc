package ai.owl.spark.storage;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.Storage;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
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
 */
public final class HadoopStorage implements Storage {
  private static final long serialVersionUID = 1;

  private static final Set<String> ATOMIC_RENAME =
      Set.of("hdfs", "viewfs", "webhdfs", "swebhdfs", "abfs", "abfss");

  private final LocalStorage local = new LocalStorage();
  private transient Configuration configuration;

  public HadoopStorage(Configuration configuration) {
    this.configuration = configuration;
  }

  @Override
  public Reader open(String location) throws IOException {
    Path path = path(location);
    if (isLocal(path)) {
      return local.open(localName(path));
    }
    FileSystem files = path.getFileSystem(configuration);
    FileStatus status = files.getFileStatus(path);
    if (status.isDirectory()) {
      throw new FileNotFoundException(location + " is a folder");
    }
    // Tensors are read in large pieces from known positions: a read should ask for its piece and no
    // more.
    FSDataInputStream in =
        get(
            files
                .openFile(path)
                .opt("fs.option.openfile.read.policy", "random")
                .opt("fs.option.openfile.length", Long.toString(status.getLen()))
                .build());
    long size = status.getLen();
    return new Reader() {
      @Override
      public long size() {
        return size;
      }

      @Override
      public void read(long position, byte[] target, int offset, int length) throws IOException {
        in.readFully(position, target, offset, length);
      }

      @Override
      public void close() throws IOException {
        in.close();
      }
    };
  }

  private static FSDataInputStream get(
      java.util.concurrent.CompletableFuture<FSDataInputStream> opening) throws IOException {
    try {
      return opening.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("Interrupted while opening a file", e);
    } catch (java.util.concurrent.ExecutionException e) {
      throw e.getCause() instanceof IOException io ? io : new IOException(e.getCause());
    }
  }

  @Override
  public FileStream create(String location) throws IOException {
    Path target = path(location);
    if (isLocal(target)) {
      return local.create(localName(target));
    }
    FileSystem files = target.getFileSystem(configuration);
    boolean moves =
        ATOMIC_RENAME.contains(
            target.toUri().getScheme() == null ? files.getScheme() : target.toUri().getScheme());
    Path written =
        moves
            ? new Path(
                target.getParent(), "." + target.getName() + "." + UUID.randomUUID() + ".part")
            : target;
    FSDataOutputStream out = files.create(written, true);
    return new FileStream() {
      private boolean ended;

      @Override
      public void write(int b) throws IOException {
        out.write(b);
      }

      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        out.write(bytes, offset, length);
      }

      @Override
      public void close() throws IOException {
        if (ended) {
          return;
        }
        ended = true;
        if (moves) {
          out.hsync();
          out.close();
          FileContext.getFileContext(files.getUri(), configuration)
              .rename(
                  files.makeQualified(written),
                  files.makeQualified(target),
                  Options.Rename.OVERWRITE);
        } else {
          out.close();
        }
      }

      @Override
      public void abort() {
        ended = true;
        try {
          if (!moves && out.hasCapability(StreamCapabilities.ABORTABLE_STREAM)) {
            out.abort();
          } else {
            out.close();
            files.delete(written, false);
          }
        } catch (IOException ignored) {
          // Best effort: on HDFS the leftover's name says that it is one; elsewhere an index never
          // names it.
        }
      }
    };
  }

  @Override
  public List<String> list(String folder) throws IOException {
    Path path = path(folder);
    if (isLocal(path)) {
      return local.list(localName(path));
    }
    try {
      FileStatus[] entries = path.getFileSystem(configuration).listStatus(path);
      if (entries.length == 1
          && entries[0].isFile()
          && entries[0].getPath().getName().equals(path.getName())
          && !isFolder(folder)) {
        return List.of();
      }
      return Arrays.stream(entries).map(entry -> entry.getPath().getName()).sorted().toList();
    } catch (FileNotFoundException none) {
      return List.of();
    }
  }

  @Override
  public boolean exists(String location) throws IOException {
    Path path = path(location);
    if (isLocal(path)) {
      return local.exists(localName(path));
    }
    try {
      FileStatus status = path.getFileSystem(configuration).getFileStatus(path);
      return status.isFile() || !list(location).isEmpty();
    } catch (FileNotFoundException none) {
      return false;
    }
  }

  @Override
  public boolean isFolder(String location) throws IOException {
    Path path = path(location);
    if (isLocal(path)) {
      return local.isFolder(localName(path));
    }
    try {
      return path.getFileSystem(configuration).getFileStatus(path).isDirectory();
    } catch (FileNotFoundException none) {
      return false;
    }
  }

  @Override
  public void delete(String location) throws IOException {
    Path path = path(location);
    if (isLocal(path)) {
      local.delete(localName(path));
    } else {
      path.getFileSystem(configuration).delete(path, true);
    }
  }

  private static Path path(String location) throws IOException {
    try {
      return new Path(location);
    } catch (IllegalArgumentException e) {
      throw new FileNotFoundException(location + " is not a location: " + e.getMessage());
    }
  }

  private boolean isLocal(Path path) {
    String scheme = path.toUri().getScheme();
    return "file"
        .equals(scheme == null ? FileSystem.getDefaultUri(configuration).getScheme() : scheme);
  }

  private static String localName(Path path) {
    return path.toUri().getPath();
  }

  private void writeObject(ObjectOutputStream out) throws IOException {
    out.defaultWriteObject();
    configuration.write(out);
  }

  private void readObject(ObjectInputStream in) throws IOException, ClassNotFoundException {
    in.defaultReadObject();
    configuration = new Configuration(false);
    configuration.readFields(in);
  }
}
