package ai.owl.checkpoint;

import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Files of this machine, by path or {@code file:} URI. */
public final class LocalStorage implements Storage {
  @Override
  public Reader open(String location) throws IOException {
    Path path = path(location);
    if (Files.isDirectory(path)) {
      throw new FileNotFoundException(location + ": it is a folder");
    }
    FileChannel channel;
    try {
      channel = FileChannel.open(path, StandardOpenOption.READ);
    } catch (NoSuchFileException e) {
      throw new FileNotFoundException(location + ": it does not exist");
    }
    long size = channel.size();
    return new Reader() {
      @Override
      public long size() {
        return size;
      }

      @Override
      public void read(long position, byte[] target, int offset, int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.wrap(target, offset, length);
        while (buffer.hasRemaining()) {
          if (channel.read(buffer, position + buffer.position() - offset) < 0) {
            throw new EOFException(location + " ends before byte " + (position + length));
          }
        }
      }

      @Override
      public void close() throws IOException {
        channel.close();
      }
    };
  }

  @Override
  public FileStream create(String location) throws IOException {
    Path target = path(location);
    // Written beside the target and moved over it: a reader never meets a file that is still
    // growing.
    Path part = target.resolveSibling(UnfinishedFile.nameFor(target.getFileName().toString()));
    FileChannel channel;
    try {
      if (target.getParent() != null) {
        Files.createDirectories(target.getParent());
      }
      channel = FileChannel.open(part, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    } catch (FileAlreadyExistsException e) {
      throw new FileSystemException(location, null, "a part of its path is a file");
    } catch (NoSuchFileException e) {
      // On its own this would read as if something were to be read.
      throw new FileSystemException(location, null, "no file can be made there");
    }
    OutputStream out = Channels.newOutputStream(channel);
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
        try {
          channel.force(true);
          channel.close();
          Files.move(
              part, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
          discard();
          throw e;
        }
      }

      @Override
      public void abort() {
        ended = true;
        discard();
      }

      private void discard() {
        try {
          channel.close();
          Files.deleteIfExists(part);
        } catch (IOException ignored) {
          // Best effort: the leftover's name begins with a dot and ends in .part, so nothing takes
          // it for a file of the model.
        }
      }
    };
  }

  @Override
  public boolean writeNew(String location, byte[] content) throws IOException {
    Path target = path(location);
    if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
      return false;
    }
    // A link to a whole file appears with its content, or not at all: a full disk leaves no empty
    // file that others would take for one that is held.
    Path part = target.resolveSibling(UnfinishedFile.nameFor(target.getFileName().toString()));
    writeAll(part.toString(), content);
    try {
      Files.createLink(target, part);
      return true;
    } catch (FileAlreadyExistsException e) {
      // Over a network the answer to an attempt of ours may have been lost.
      return Files.exists(target) && Files.isSameFile(target, part);
    } catch (UnsupportedOperationException | IOException noLinks) {
      return createNew(target, content);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  /** For file systems without links. */
  private static boolean createNew(Path target, byte[] content) throws IOException {
    OutputStream out;
    try {
      out = Files.newOutputStream(target, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    } catch (FileAlreadyExistsException e) {
      return false;
    }
    try (out) {
      out.write(content);
      return true;
    } catch (IOException e) {
      Files.deleteIfExists(target);
      throw e;
    }
  }

  @Override
  public void deleteUnfinished(String folder) throws IOException {
    for (String name : list(folder)) {
      if (UnfinishedFile.is(name)) {
        Files.deleteIfExists(path(folder).resolve(name));
      }
    }
  }

  @Override
  public List<String> list(String folder) throws IOException {
    Path path = path(folder);
    if (!Files.isDirectory(path)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(path)) {
      return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
    }
  }

  @Override
  public boolean exists(String location) throws IOException {
    Path path = path(location);
    return Files.isDirectory(path) ? !list(location).isEmpty() : Files.exists(path);
  }

  @Override
  public boolean isFolder(String location) throws IOException {
    return Files.isDirectory(path(location));
  }

  @Override
  public void delete(String location) throws IOException {
    Path path = path(location);
    if (!Files.isDirectory(path)) {
      Files.deleteIfExists(path);
      return;
    }
    Files.walkFileTree(
        path,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.deleteIfExists(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path folder, IOException failure)
              throws IOException {
            try {
              Files.deleteIfExists(folder);
            } catch (DirectoryNotEmptyException stillUsed) {
              throw new IOException(
                  "Cannot delete " + folder + ": something writes into it", stillUsed);
            }
            return FileVisitResult.CONTINUE;
          }
        });
  }

  @Override
  public String canonical(String location) throws IOException {
    return canonical(path(location).toAbsolutePath()).toString();
  }

  /** The real path of as much of it as is there, and the rest as it is written. */
  private static Path canonical(Path path) {
    for (Path there = path; there.getNameCount() > 0; there = there.getParent()) {
      try {
        Path real = there.toRealPath();
        if (there.equals(path)) {
          return real;
        }
        Path rest = path.subpath(there.getNameCount(), path.getNameCount());
        Path whole = real.resolve(rest).normalize();
        // After a step up, what follows may be there.
        return rest.startsWith(rest.normalize()) ? whole : canonical(whole);
      } catch (IOException notThereYet) {
        // Its parent may be there.
      }
    }
    return path.normalize();
  }

  @Override
  public String stamp(String location) throws IOException {
    try {
      BasicFileAttributes file = Files.readAttributes(path(location), BasicFileAttributes.class);
      return file.size() + " " + file.lastModifiedTime().to(TimeUnit.NANOSECONDS);
    } catch (NoSuchFileException e) {
      throw new FileNotFoundException(location + ": it does not exist");
    }
  }

  /** A location is taken literally, as Hadoop does: {@code %20} in it is no space. */
  private static Path path(String location) throws FileNotFoundException {
    String name =
        location.startsWith("file://")
            ? location.substring("file://".length())
            : location.startsWith("file:") ? location.substring("file:".length()) : location;
    try {
      return Path.of(name);
    } catch (InvalidPathException e) {
      throw new FileNotFoundException(location + ": it is not a path, " + e.getReason());
    }
  }
}
