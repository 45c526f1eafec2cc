package ai.owl.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.ObjectOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LocalStorageTest {
  private final Storage storage = new LocalStorage();

  @TempDir Path folder;

  @Test
  void showsAFileOnlyOnceItIsClosed() throws IOException {
    Storage.FileStream out = storage.create(at("a"));
    out.write(new byte[] {1, 2, 3});
    out.write(4);
    out.flush();
    assertThat(storage.exists(at("a"))).isFalse();
    out.close();
    assertThat(storage.readAll(at("a"), 10)).containsExactly(1, 2, 3, 4);
    assertThat(storage.list(folder.toString())).containsExactly("a");
  }

  @Test
  void showsNothingOfAnAbortedFile() throws IOException {
    Storage.FileStream out = storage.create(at("a"));
    out.write(1);
    out.abort();
    out.close();
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void keepsAClosedFileWhenItIsAbortedAfterwards() throws IOException {
    Storage.FileStream out = storage.create(at("a"));
    out.close();
    out.close();
    out.abort();
    assertThat(storage.list(folder.toString())).containsExactly("a");
  }

  @Test
  void replacesAFileAtOnce() throws IOException {
    storage.writeAll(at("a"), new byte[] {1});
    try (Storage.Reader old = storage.open(at("a"))) {
      Storage.FileStream out = storage.create(at("a"));
      out.write(2);
      assertThat(storage.readAll(at("a"), 10)).containsExactly(1);
      out.close();
      assertThat(storage.readAll(at("a"), 10)).containsExactly(2);

      byte[] still = new byte[1];
      old.read(0, still, 0, 1);
      assertThat(still).containsExactly(1);
    }
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
    assertThat(storage.list(folder.toString())).containsExactly("a");
  }

  @Test
  void makesTheFoldersAFileNeeds() throws IOException {
    storage.writeAll(at("x/y/z"), new byte[1]);
    assertThat(storage.isFolder(at("x/y"))).isTrue();
    assertThat(storage.list(at("x"))).containsExactly("y");
  }

  @Test
  void leavesNothingBesideAFolderThatStandsInTheWay() throws IOException {
    storage.writeAll(at("a/b"), new byte[1]);
    Storage.FileStream out = storage.create(at("a"));
    assertThatThrownBy(out::close).isInstanceOf(IOException.class);
    assertThat(storage.list(folder.toString())).containsExactly("a");
    assertThat(storage.list(at("a"))).containsExactly("b");
  }

  @Test
  void readsRanges() throws IOException {
    storage.writeAll(at("a"), new byte[] {0, 1, 2, 3, 4, 5});
    try (Storage.Reader reader = storage.open(at("a"))) {
      assertThat(reader.size()).isEqualTo(6);
      byte[] target = new byte[5];
      reader.read(2, target, 1, 3);
      assertThat(target).containsExactly(0, 2, 3, 4, 0);
      reader.read(6, target, 0, 0);
    }
  }

  @Test
  void saysWhereAFileEndsTooEarly() throws IOException {
    storage.writeAll(at("a"), new byte[6]);
    try (Storage.Reader reader = storage.open(at("a"))) {
      assertThatThrownBy(() -> reader.read(4, new byte[9], 0, 3))
          .isInstanceOf(EOFException.class)
          .hasMessageContaining(at("a"))
          .hasMessageContaining("before byte 7");
    }
  }

  @Test
  void saysWhatIsNotAFile() {
    assertThatThrownBy(() -> storage.open(at("none")))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessage(at("none") + ": it does not exist");
    assertThatThrownBy(() -> storage.open(folder.toString()))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessage(folder + ": it is a folder");
  }

  @Test
  void refusesToReadWholeWhatIsBig() throws IOException {
    storage.writeAll(at("a"), new byte[6]);
    assertThatThrownBy(() -> storage.readAll(at("a"), 5))
        .isInstanceOf(MalformedCheckpointException.class)
        .hasMessageContaining("6 bytes, more than the 5");
  }

  @Test
  void listsNamesSorted() throws IOException {
    for (String name : new String[] {"b", "a10", "a2", "Z", "c/d"}) {
      storage.writeAll(at(name), new byte[0]);
    }
    assertThat(storage.list(folder.toString())).containsExactly("Z", "a10", "a2", "b", "c");
    assertThat(storage.list(at("none"))).isEmpty();
    assertThat(storage.list(at("b"))).isEmpty();
  }

  @Test
  void knowsWhatExists() throws IOException {
    storage.writeAll(at("full/a"), new byte[0]);
    Files.createDirectory(folder.resolve("empty"));
    assertThat(storage.exists(at("full/a"))).isTrue();
    assertThat(storage.exists(at("full"))).isTrue();
    assertThat(storage.exists(at("empty"))).isFalse();
    assertThat(storage.exists(at("none"))).isFalse();
    assertThat(storage.isFolder(at("full/a"))).isFalse();
    assertThat(storage.isFolder(at("none"))).isFalse();
  }

  @Test
  void deletesFoldersWithAllTheyContain() throws IOException {
    storage.writeAll(at("x/y/z"), new byte[1]);
    storage.writeAll(at("x/a"), new byte[1]);
    storage.writeAll(at("kept"), new byte[1]);
    storage.delete(at("x"));
    storage.delete(at("none"));
    assertThat(storage.list(folder.toString())).containsExactly("kept");
    storage.delete(at("kept"));
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void deletesLinksButNotWhatTheyLeadTo() throws IOException {
    storage.writeAll(at("target/a"), new byte[1]);
    Files.createDirectory(folder.resolve("x"));
    Files.createSymbolicLink(folder.resolve("x/link"), folder.resolve("target"));
    storage.delete(at("x"));
    assertThat(storage.list(folder.toString())).containsExactly("target");
    assertThat(storage.exists(at("target/a"))).isTrue();
  }

  @Test
  void takesFileUrisAsWellAsPaths() throws IOException {
    for (String uri : new String[] {folder.toUri().toString(), "file:" + folder}) {
      storage.writeAll(Storage.resolve(uri, "a"), new byte[] {7});
      assertThat(storage.readAll(at("a"), 10)).containsExactly(7);
      assertThat(storage.list(uri)).containsExactly("a");
      assertThat(storage.isFolder(uri)).isTrue();
      storage.delete(Storage.resolve(uri, "a"));
      assertThat(folder).isEmptyDirectory();
    }
  }

  @Test
  void travelsToOtherMachines() {
    assertThatCode(() -> new ObjectOutputStream(new ByteArrayOutputStream()).writeObject(storage))
        .doesNotThrowAnyException();
  }

  /** What a full disk would cut off is not there at all. */
  @Test
  void makesANewFileWithItsContent() throws Exception {
    byte[] content = new byte[1 << 20];
    AtomicBoolean done = new AtomicBoolean();
    Set<Long> sizes = ConcurrentHashMap.newKeySet();
    Thread observer =
        new Thread(
            () -> {
              while (!done.get()) {
                try {
                  sizes.add(Files.size(folder.resolve("a")));
                } catch (IOException notThereYet) {
                  Thread.onSpinWait();
                }
              }
            });
    observer.start();
    for (int i = 0; i < 50; i++) {
      assertThat(storage.writeNew(at("a"), content)).isTrue();
      assertThat(storage.writeNew(at("a"), new byte[] {1})).isFalse();
      assertThat(storage.list(folder.toString())).containsExactly("a");
      storage.delete(at("a"));
    }
    done.set(true);
    observer.join();
    assertThat(sizes).isSubsetOf((long) content.length);
  }

  @Test
  void givesEveryLocationOneSpelling() throws IOException {
    storage.writeAll(at("a/b"), new byte[1]);
    Files.createSymbolicLink(folder.resolve("link"), folder.resolve("a"));
    String real = folder.toRealPath().toString();
    for (String name : new String[] {"a/b", "link/b", "a/./b", "x/../link/b", "a//b"}) {
      assertThat(storage.canonical(at("") + "/" + name)).as(name).isEqualTo(real + "/a/b");
      assertThat(storage.canonical("file:" + folder + "/" + name)).isEqualTo(real + "/a/b");
    }
    assertThat(storage.canonical(at("link/none/c/"))).isEqualTo(real + "/a/none/c");
    assertThat(storage.canonical("/")).isEqualTo("/");
  }

  @Test
  void stampsWhatWasWritten() throws IOException {
    storage.writeAll(at("a"), new byte[1]);
    Files.setLastModifiedTime(folder.resolve("a"), FileTime.fromMillis(1000));
    String stamp = storage.stamp(at("a"));
    assertThat(storage.stamp(at("a"))).isEqualTo(stamp).isEqualTo("1 1000000000");
    Files.setLastModifiedTime(folder.resolve("a"), FileTime.fromMillis(1001));
    assertThat(storage.stamp(at("a"))).isNotEqualTo(stamp);
    assertThatThrownBy(() -> storage.stamp(at("none")))
        .isInstanceOf(FileNotFoundException.class)
        .hasMessage(at("none") + ": it does not exist");
  }

  private String at(String name) {
    return folder.resolve(name).toString();
  }
}
