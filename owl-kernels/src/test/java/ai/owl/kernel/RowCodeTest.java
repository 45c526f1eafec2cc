package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import ai.owl.tensor.VectorUnit;
import java.util.List;
import org.junit.jupiter.api.Test;

class RowCodeTest {
  /** No group waits for one that is not asked for, nor for a row that somebody computes. */
  @Test
  void preparesWhatIsAskedForBeforeAnyRowIsComputed() throws InterruptedException {
    assumeThat(VectorUnit.isPresent()).isTrue();
    RowCode.prepare(List.of(RowCode.Group.COMPENSATION, RowCode.Group.SPARSE));
    for (Thread thread : preparing()) {
      thread.join(60_000);
    }
    assertThat(preparing()).isEmpty();
    assertThat(RowCode.compensation()).isInstanceOf(VectorRows.class);
    assertThat(RowCode.sparse()).isInstanceOf(VectorRows.class);
  }

  private static List<Thread> preparing() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().equals("owl-prepare-vector-code"))
        .toList();
  }
}
