package ai.owl.spark.storage;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.Storage;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.security.PrivilegedExceptionAction;
import java.util.Arrays;
import java.util.Random;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.security.UserGroupInformation;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HadoopStorageTest {
  @TempDir static java.nio.file.Path temporary;
  private static HdfsCluster hdfs;

  @BeforeAll
  static void start() {
    hdfs = HdfsCluster.start(temporary.resolve("hdfs"));
  }

  @AfterAll
  static void stop() {
    hdfs.close();
  }

  @Nested
  class OnLocalPaths extends StorageContract {
    @Override
    HadoopStorage newStorage() {
      return new HadoopStorage(new Configuration());
    }

    @Override
    String root() {
      return temporary.toString();
    }

    @Override
    FileSystem files() throws IOException {
      return FileSystem.getLocal(new Configuration());
    }

    @Test
    void letsOneOfSeveralWritersHaveANewFile() throws Exception {
      assertThatOneOfSeveralWritersWins(storage, folder);
    }

    @Test
    void leavesNoChecksumFiles() throws IOException {
      storage.writeAll(at("a"), new byte[1]);
      assertThat(java.nio.file.Path.of(folder)).isDirectoryNotContaining("glob:**.crc");
      assertThat(java.nio.file.Path.of(folder)).isDirectoryContaining("glob:**/a");
    }

    @Test
    void takesTwoSlashesForOne() throws IOException {
      storage.writeAll("/" + at("a"), new byte[1]);
      assertThat(storage.list(folder)).containsExactly("a");
    }

    @Test
    void takesRelativePathsFromTheWorkingFolder() throws IOException {
      String relative = "target/" + UUID.randomUUID();
      try {
        storage.writeAll(relative + "/a", new byte[] {1});
        assertThat(java.nio.file.Path.of(relative, "a")).exists();
        assertThat(storage.list("./" + relative)).containsExactly("a");
      } finally {
        storage.delete(relative);
      }
    }
  }

  @Nested
  class OnFileUris extends StorageContract {
    @Override
    HadoopStorage newStorage() {
      return new HadoopStorage(new Configuration());
    }

    @Override
    String root() {
      return "file://" + temporary;
    }

    @Override
    FileSystem files() throws IOException {
      return FileSystem.getLocal(new Configuration());
    }

    @Test
    void takesUrisWithOneSlash() throws IOException {
      storage.writeAll(at("a").replace("file://", "file:"), new byte[1]);
      assertThat(storage.list(folder)).containsExactly("a");
    }

    @Test
    void refusesUrisWithTwoSlashes() {
      assertThatThrownBy(() -> storage.create("file://" + at("a").substring("file:///".length())))
          .isInstanceOf(FileSystemException.class)
          .hasMessageContaining("one slash or three");
    }
  }

  @Nested
  class OnHdfs extends StorageContract {
    @Override
    HadoopStorage newStorage() {
      return new HadoopStorage(new Configuration());
    }

    @Override
    String root() {
      return hdfs.uri() + "/tests";
    }

    @Override
    FileSystem files() throws IOException {
      return hdfs.files();
    }

    @Test
    void letsOneOfSeveralWritersHaveANewFile() throws Exception {
      assertThatOneOfSeveralWritersWins(storage, folder);
    }

    @Test
    void leavesNothingOfAnAbortedFile() throws IOException {
      Storage.FileStream out = storage.create(at("a"));
      out.write(1);
      assertThat(storage.list(folder)).isEmpty();
      assertThat(files().listStatus(new Path(folder))).hasSize(1);
      out.abort();
      assertThat(files().listStatus(new Path(folder))).isEmpty();
    }

    @Test
    void hidesWhatAWriterThatDiedLeft() throws IOException {
      Storage.FileStream out = storage.create(at("a"));
      out.write(1);
      assertThat(storage.list(folder)).isEmpty();
      assertThat(storage.exists(folder)).isFalse();
      assertThat(storage.isFolder(folder)).isTrue();
      storage.delete(folder);
      assertThatThrownBy(out::close).isInstanceOf(IOException.class).hasMessageContaining(at("a"));
      assertThat(storage.list(folder)).isEmpty();
    }

    @Test
    void leavesNothingBesideAFolderThatStandsInTheWay() throws IOException {
      storage.writeAll(at("a/b"), new byte[1]);
      Storage.FileStream out = storage.create(at("a"));
      assertThatThrownBy(out::close).isInstanceOf(IOException.class).hasMessageContaining(at("a"));
      assertThat(files().listStatus(new Path(folder))).hasSize(1);
      assertThat(storage.list(at("a"))).containsExactly("b");
    }

    @Test
    void knowsAReaderOfAReplacedFile() throws IOException {
      storage.writeAll(at("a"), new byte[] {1});
      try (Storage.Reader old = storage.open(at("a"))) {
        storage.writeAll(at("a"), new byte[] {2});
        byte[] still = new byte[1];
        old.read(0, still, 0, 1);
        assertThat(still).containsExactly(1);
      }
    }

    @Test
    void saysThatTheRootIsNoFile() {
      assertThatThrownBy(() -> storage.create(hdfs.uri()))
          .isInstanceOf(FileSystemException.class)
          .hasMessage(hdfs.uri() + ": it is a folder");
    }

    @Test
    void saysThatAFileIsNoFolder() throws IOException {
      storage.writeAll(at("a"), new byte[1]);
      assertThatThrownBy(() -> storage.create(at("a/b")))
          .isInstanceOf(FileSystemException.class)
          .hasMessageStartingWith(at("a/b") + ": ");
    }

    @Test
    void saysWhoMayNotRead() throws Exception {
      storage.writeAll(at("a"), new byte[1]);
      files().setPermission(new Path(at("a")), new FsPermission((short) 0600));
      assertThatThrownBy(() -> asStranger(() -> newStorage().open(at("a")).size()))
          .isInstanceOf(AccessDeniedException.class)
          .hasMessageStartingWith(at("a") + ": Permission denied: user=stranger, access=READ");
      assertThatThrownBy(() -> asStranger(() -> newStorage().create(at("b"))))
          .isInstanceOf(AccessDeniedException.class)
          .hasMessageStartingWith(at("b") + ": Permission denied: user=stranger, access=WRITE");
    }

    private static <T> T asStranger(PrivilegedExceptionAction<T> action) throws Exception {
      return UserGroupInformation.createRemoteUser("stranger").doAs(action);
    }

    @Test
    void listsTheRootWithAndWithoutASlash() throws IOException {
      storage.writeAll(at("a"), new byte[1]);
      assertThat(storage.list(hdfs.uri())).contains("tests");
      assertThat(storage.list(hdfs.uri() + "/")).contains("tests");
      assertThat(storage.isFolder(hdfs.uri())).isTrue();
    }
  }

  /** Paths without a scheme, where the configuration says that they are HDFS's. */
  @Nested
  class OnDefaultHdfs {
    private final Storage storage = new HadoopStorage(settings());

    private static Configuration settings() {
      Configuration settings = new Configuration();
      settings.set(FileSystem.FS_DEFAULT_NAME_KEY, hdfs.uri());
      return settings;
    }

    @Test
    void takesPathsWithoutAScheme() throws IOException {
      storage.writeAll("/default/a b/c", new byte[] {1});
      assertThat(storage.list("/default/a b/")).containsExactly("c");
      assertThat(hdfs.files().listStatus(new Path("/default/a b"))).hasSize(1);
      assertThat(storage.readAll(hdfs.uri() + "/default/a b/c", 1)).containsExactly(1);
      storage.delete("/default");
      assertThat(storage.exists("/default")).isFalse();
    }

    @Test
    void takesRelativePathsFromTheHomeFolder() throws IOException {
      storage.writeAll("a", new byte[1]);
      storage.writeAll("b/c", new byte[1]);
      Path home = hdfs.files().getHomeDirectory();
      assertThat(storage.list(home.toString())).containsExactly("a", "b");
      assertThat(storage.list("b")).containsExactly("c");
      storage.delete("a");
      storage.delete("b");
      assertThat(hdfs.files().listStatus(home)).isEmpty();
    }

    @Test
    void stillKnowsLocalFiles() throws IOException {
      String local = "file:" + temporary.resolve("a");
      storage.writeAll(local, new byte[] {1});
      assertThat(temporary.resolve("a")).hasBinaryContent(new byte[] {1});
      assertThat(storage.readAll(local, 10)).containsExactly(1);
      assertThat(storage.exists(temporary.resolve("a").toString())).isFalse();
      storage.delete(local);
    }
  }

  @Nested
  class OnS3 extends StorageContract {
    private static S3Server s3;
    private static Configuration settings;
    private static String bucket;

    @BeforeAll
    static void start() {
      s3 = S3Server.start();
      bucket = s3.newBucket();
      settings = s3.settings();
      settings.set("fs.s3a.buffer.dir", temporary.resolve("s3a").toString());
    }

    @AfterAll
    static void stop() {
      s3.close();
    }

    @Override
    HadoopStorage newStorage() {
      return new HadoopStorage(settings);
    }

    @Override
    String root() {
      return "s3a://" + bucket;
    }

    @Override
    FileSystem files() throws IOException {
      return new Path(root()).getFileSystem(settings);
    }

    @Test
    void keepsFilesOfSeveralParts() throws IOException {
      byte[] content = new byte[12 << 20];
      new Random(3).nextBytes(content);
      int before = s3.parts();
      Storage.FileStream out = storage.create(at("big"));
      for (int from = 0; from < content.length; from += 1 << 20) {
        out.write(content, from, 1 << 20);
      }
      assertThat(storage.list(folder)).isEmpty();
      out.close();
      assertThat(s3.parts() - before).as("parts of 5 MiB").isEqualTo(3);
      assertThat(s3.unfinishedUploads(bucket)).isZero();
      assertThat(storage.list(folder)).containsExactly("big");
      assertThat(Arrays.equals(storage.readAll(at("big"), 12 << 20), content)).isTrue();
      try (Storage.Reader reader = storage.open(at("big"))) {
        byte[] seam = new byte[100];
        reader.read((5 << 20) - 50, seam, 0, 100);
        assertThat(seam).isEqualTo(Arrays.copyOfRange(content, (5 << 20) - 50, (5 << 20) + 50));
      }
    }

    @Test
    void leavesNothingOfAnAbortedFileOfSeveralParts() throws Exception {
      long before = statistic("multipart_upload_completed");
      Storage.FileStream out = storage.create(at("big"));
      for (int i = 0; i < 12; i++) {
        out.write(new byte[1 << 20], 0, 1 << 20);
      }
      out.abort();
      assertThat(storage.list(folder)).isEmpty();
      assertThat(statistic("multipart_upload_completed")).isEqualTo(before);
      assertThat(s3.unfinishedUploads(bucket)).isZero();
      java.nio.file.Path buffers = temporary.resolve("s3a");
      for (int i = 0; i < 100 && buffers.toFile().list().length > 0; i++) {
        Thread.sleep(100); // parts that were on their way end in the background
      }
      assertThat(buffers).isEmptyDirectory();
    }

    @Test
    void neverRenames() throws IOException {
      storage.writeAll(at("x/a"), new byte[1]);
      storage.writeAll(at("x/a"), new byte[2]);
      Storage.FileStream out = storage.create(at("x/b"));
      out.write(1);
      out.abort();
      storage.delete(at("x"));
      assertThat(s3.copies()).isZero();
      assertThat(statistic("op_rename")).isZero();
      assertThat(statistic("object_copy_requests")).isZero();
    }

    private long statistic(String name) throws IOException {
      Long value = files().getStorageStatistics().getLong(name);
      assertThat(value).as("S3A counts %s", name).isNotNull();
      return value;
    }

    @Test
    void carriesItsSettingsToOtherMachines() throws Exception {
      // Nobody has used this bucket, so no file system with other settings is at hand.
      String location = "s3a://" + s3.newBucket() + "/a";
      serialized(storage).writeAll(location, new byte[] {1});
      assertThat(storage.readAll(location, 10)).containsExactly(1);
    }

    @Test
    void tellsTheDriverWhyATaskMayNotRead() {
      Configuration stranger = new Configuration(settings);
      stranger.set("fs.s3a.secret.key", "another");
      String location = "s3a://" + s3.newBucket() + "/a";
      assertThatThrownBy(() -> new HadoopStorage(stranger).open(location))
          .isInstanceOf(AccessDeniedException.class)
          .hasMessageStartingWith(location + ": ")
          .satisfies(
              denied ->
                  assertThat(serialized(denied))
                      .hasMessage(denied.getMessage())
                      .hasCauseInstanceOf(AccessDeniedException.class));
    }

    @Test
    void listsABucketWithAndWithoutASlash() throws IOException {
      String other = "s3a://" + s3.newBucket();
      assertThat(storage.exists(other)).isFalse();
      storage.writeAll(Storage.resolve(other, "a"), new byte[1]);
      assertThat(storage.list(other)).containsExactly("a");
      assertThat(storage.list(other + "/")).containsExactly("a");
      assertThat(storage.exists(other)).isTrue();
      assertThat(storage.isFolder(other)).isTrue();
    }

    @Test
    void readsNoMoreThanItIsAskedFor() throws IOException {
      storage.writeAll(at("a"), new byte[4 << 20]);
      try (Storage.Reader reader = storage.open(at("a"))) {
        long before = s3.asked();
        reader.read(1 << 20, new byte[100_000], 0, 100_000);
        reader.read(3 << 20, new byte[100_000], 0, 100_000);
        reader.read(0, new byte[100_000], 0, 100_000);
        assertThat(s3.asked() - before).isBetween(300_000L, 400_000L);
      }
    }
  }
}
