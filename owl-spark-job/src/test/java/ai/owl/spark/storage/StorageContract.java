package ai.owl.spark.storage;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.Storage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What {@link Storage} promises, whatever the file system. */
abstract class StorageContract {
  private static final AtomicInteger FOLDERS = new AtomicInteger();

  Storage storage;

  /** A folder that nothing is in, and that need not be there. */
  String folder;

  /** The storage to test. */
  abstract HadoopStorage newStorage();

  /** A folder that tests can make folders in. */
  abstract String root();

  /** Hadoop's own view, to make what {@link Storage} cannot. */
  abstract FileSystem files() throws IOException;

  @BeforeEach
  void prepare() {
    storage = newStorage();
    folder = Storage.resolve(root(), "test-" + FOLDERS.incrementAndGet());
  }

  String at(String name) {
    return Storage.resolve(folder, name);
  }

  @Test
  void showsAFileOnlyOnceItIsClosed() throws IOException {
    Storage.FileStream out = storage.create(at("a"));
    out.write(new byte[] {1, 2, 3});
    out.write(4);
    out.flush();
    assertThat(storage.exists(at("a"))).isFalse();
    assertThatThrownBy(() -> storage.open(at("a"))).isInstanceOf(FileNotFoundException.class);
    out.close();
    assertThat(storage.readAll(at("a"), 10)).containsExactly(1, 2, 3, 4);
    assertThat(storage.list(folder)).containsExactly("a");
    assertThat(storage.exists(at("a"))).isTrue();
  }

  @Test
  void givesEveryLocationOneSpelling() throws IOException {
    storage.writeAll(at("a/b"), new byte[1]);
    String canonical = storage.canonical(at("a/b"));
    for (String name : List.of("a//b", "a/./b", "a/x/../b", "a/b/")) {
      assertThat(storage.canonical(at(name))).as(name).isEqualTo(canonical);
    }
    assertThat(storage.canonical(at("a/none/"))).isNotEqualTo(canonical).endsWith("/a/none");
    assertThat(canonical).startsWith(storage.canonical(folder) + "/");
  }

  @Test
  void stampsWhatWasWritten() throws IOException {
    storage.writeAll(at("a"), new byte[1]);
    String stamp = storage.stamp(at("a"));
    assertThat(stamp).startsWith("1 ").isEqualTo(storage.stamp(at("a")));
    storage.writeAll(at("a"), new byte[2]);
    assertThat(storage.stamp(at("a"))).startsWith("2 ");
    assertThatThrownBy(() -> storage.stamp(at("none"))).isInstanceOf(FileNotFoundException.class);
  }

  @Test
  void showsNothingOfAnAbortedFile() throws IOException {
    Storage.FileStream out = storage.create(at("a"));
    out.write(1);
    out.abort();
    out.close();
    out.abort();
    assertThat(storage.list(folder)).isEmpty();
    assertThat(storage.exists(at("a"))).isFalse();
    assertThat(storage.exists(folder)).isFalse();
  }

  @Test
  void keepsAClosedFileWhenItIsAbortedAfterwards() throws IOException {
    Storage.FileStream out = storage.create(at("a"));
    out.write(1);
    out.close();
    out.close();
    out.abort();
    assertThat(storage.readAll(at("a"), 10)).containsExactly(1);
  }

  @Test
  void replacesAFileAtOnce() throws IOException {
    storage.writeAll(at("a"), new byte[] {1, 1});
    Storage.FileStream out = storage.create(at("a"));
    out.write(2);
    assertThat(storage.readAll(at("a"), 10)).containsExactly(1, 1);
    out.close();
    assertThat(storage.readAll(at("a"), 10)).containsExactly(2);
    assertThat(storage.list(folder)).containsExactly("a");
  }

  @Test
  void keepsTheOldFileWhenItsReplacementIsAborted() throws IOException {
    storage.writeAll(at("a"), new byte[] {1});
    Storage.FileStream out = storage.create(at("a"));
    out.write(2);
    out.abort();
    assertThat(storage.readAll(at("a"), 10)).containsExactly(1);
    assertThat(storage.list(folder)).containsExactly("a");
  }

  @Test
  void letsTheLastOfTwoWritersWin() throws IOException {
    Storage.FileStream first = storage.create(at("a"));
    Storage.FileStream second = storage.create(at("a"));
    second.write(2);
    second.close();
    first.write(1);
    first.close();
    assertThat(storage.readAll(at("a"), 10)).containsExactly(1);
    assertThat(storage.list(folder)).containsExactly("a");
  }

  @Test
  void writesANewFileOnce() throws IOException {
    assertThat(storage.writeNew(at("x/a"), new byte[] {1})).isTrue();
    assertThat(storage.writeNew(at("x/a"), new byte[] {2, 2})).isFalse();
    assertThat(storage.readAll(at("x/a"), 10)).containsExactly(1);
    assertThat(storage.list(at("x"))).containsExactly("a");
    assertThat(files().listStatus(new Path(at("x")))).hasSize(1);
    storage.delete(at("x/a"));
    assertThat(storage.writeNew(at("x/a"), new byte[] {3})).isTrue();
    assertThat(storage.readAll(at("x/a"), 10)).containsExactly(3);
  }

  /** Has several writers make the same file, several times. */
  static void assertThatOneOfSeveralWritersWins(Storage storage, String folder) throws Exception {
    int writers = 6;
    ExecutorService threads = Executors.newFixedThreadPool(writers);
    try {
      for (int round = 0; round < 10; round++) {
        String location = Storage.resolve(folder, "round-" + round);
        List<Callable<Boolean>> attempts = new ArrayList<>();
        for (int writer = 0; writer < writers; writer++) {
          byte[] content = {(byte) writer};
          attempts.add(() -> storage.writeNew(location, content));
        }
        List<Integer> winners = new ArrayList<>();
        List<Future<Boolean>> outcomes = threads.invokeAll(attempts);
        for (int writer = 0; writer < writers; writer++) {
          if (outcomes.get(writer).get()) {
            winners.add(writer);
          }
        }
        assertThat(winners).as(location).hasSize(1);
        assertThat(storage.readAll(location, 10)).containsExactly(winners.get(0));
      }
    } finally {
      threads.shutdown();
    }
  }

  @Test
  void keepsAnEmptyFile() throws IOException {
    storage.writeAll(at("a"), new byte[0]);
    assertThat(storage.exists(at("a"))).isTrue();
    assertThat(storage.readAll(at("a"), 10)).isEmpty();
  }

  @Test
  void readsRanges() throws IOException {
    storage.writeAll(at("a"), new byte[] {0, 1, 2, 3, 4, 5});
    try (Storage.Reader reader = storage.open(at("a"))) {
      assertThat(reader.size()).isEqualTo(6);
      byte[] target = new byte[5];
      reader.read(2, target, 1, 3);
      assertThat(target).containsExactly(0, 2, 3, 4, 0);
      reader.read(0, target, 0, 1);
      assertThat(target).containsExactly(0, 2, 3, 4, 0);
      reader.read(6, target, 0, 0);
    }
  }

  @Test
  void saysWhereAFileEndsTooEarly() throws IOException {
    storage.writeAll(at("a"), new byte[6]);
    try (Storage.Reader reader = storage.open(at("a"))) {
      for (long position : new long[] {4, 6, 1L << 40}) {
        assertThatThrownBy(() -> reader.read(position, new byte[9], 0, 3))
            .isInstanceOf(EOFException.class)
            .hasMessageContaining(at("a") + " ends before byte " + (position + 3));
      }
      reader.read(3, new byte[9], 0, 3);
    }
  }

  @Test
  void readsForSeveralThreadsAtOnce() throws Exception {
    byte[] content = new byte[300_000];
    new Random(1).nextBytes(content);
    storage.writeAll(at("a"), content);
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try (Storage.Reader reader = storage.open(at("a"))) {
      List<Callable<Boolean>> reads = new ArrayList<>();
      Random random = new Random(2);
      for (int i = 0; i < 40; i++) {
        int from = random.nextInt(content.length);
        int length = random.nextInt(Math.min(content.length - from, 50_000) + 1);
        reads.add(
            () -> {
              byte[] target = new byte[length];
              reader.read(from, target, 0, length);
              return Arrays.equals(target, Arrays.copyOfRange(content, from, from + length));
            });
      }
      for (Future<Boolean> equal : threads.invokeAll(reads)) {
        assertThat(equal.get()).isTrue();
      }
    } finally {
      threads.shutdown();
    }
  }

  @Test
  void saysWhatIsNotAFile() throws IOException {
    storage.writeAll(at("x/a"), new byte[1]);
    assertThatThrownBy(() -> storage.open(at("none")))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessage(at("none") + ": it does not exist");
    assertThatThrownBy(() -> storage.open(at("x")))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessage(at("x") + ": it is a folder");
  }

  @Test
  void listsNamesSorted() throws IOException {
    for (String name : new String[] {"b", "a10", "a2", "Z", "c/d", ".hidden"}) {
      storage.writeAll(at(name), new byte[0]);
    }
    assertThat(storage.list(folder)).containsExactly(".hidden", "Z", "a10", "a2", "b", "c");
    assertThat(storage.list(folder + "/")).hasSize(6);
    assertThat(storage.list(at("none"))).isEmpty();
    assertThat(storage.list(at("b"))).isEmpty();
  }

  @Test
  void listsAFolderWhoseOnlyFileHasItsName() throws IOException {
    storage.writeAll(at("a/a"), new byte[1]);
    assertThat(storage.list(at("a"))).containsExactly("a");
    assertThat(storage.list(at("a/a"))).isEmpty();
  }

  @Test
  void knowsWhatExists() throws IOException {
    storage.writeAll(at("full/a"), new byte[0]);
    files().mkdirs(new Path(at("empty")));
    assertThat(storage.exists(at("full/a"))).isTrue();
    assertThat(storage.exists(at("full"))).isTrue();
    assertThat(storage.exists(at("full/"))).isTrue();
    assertThat(storage.exists(at("empty"))).isFalse();
    assertThat(storage.exists(at("none"))).isFalse();
    assertThat(storage.exists(at("full/a/b"))).isFalse();
    assertThat(storage.isFolder(at("full"))).isTrue();
    assertThat(storage.isFolder(at("empty"))).isTrue();
    assertThat(storage.isFolder(at("full/a"))).isFalse();
    assertThat(storage.isFolder(at("none"))).isFalse();
    assertThat(storage.list(at("empty"))).isEmpty();
  }

  @Test
  void deletesFoldersWithAllTheyContain() throws IOException {
    storage.writeAll(at("x/y/z"), new byte[1]);
    storage.writeAll(at("x/a"), new byte[1]);
    storage.writeAll(at("kept"), new byte[1]);
    storage.delete(at("x"));
    storage.delete(at("none"));
    storage.delete(at("no/folder"));
    assertThat(storage.list(folder)).containsExactly("kept");
    assertThat(storage.exists(at("x/y/z"))).isFalse();
    storage.delete(at("kept"));
    assertThat(storage.exists(folder)).isFalse();
    storage.delete(folder);
    assertThat(storage.isFolder(folder)).isFalse();
  }

  @Test
  void takesNamesLiterally() throws IOException {
    for (String name : new String[] {"a b", "100%", "a%20b+c", "#b?c", "ä{x}*=1"}) {
      String location = at(name + "/" + name);
      storage.writeAll(location, new byte[] {7});
      assertThat(storage.readAll(location, 1)).as(name).containsExactly(7);
      assertThat(storage.list(at(name))).containsExactly(name);
      assertThat(storage.list(folder)).containsExactly(name);
      storage.delete(at(name));
      assertThat(storage.exists(at(name))).isFalse();
    }
  }

  @Test
  void travelsToOtherMachines() throws Exception {
    Storage there = serialized(storage);
    there.writeAll(at("a"), new byte[] {1});
    assertThat(there.readAll(at("a"), 10)).containsExactly(1);
    assertThat(storage.readAll(at("a"), 10)).containsExactly(1);
  }

  @SuppressWarnings("unchecked")
  static <T> T serialized(T object) throws IOException, ClassNotFoundException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(object);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      return (T) in.readObject();
    }
  }
}
