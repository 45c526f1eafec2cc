package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;

class RowCodeTest {
  private final List<String> asked = new ArrayList<>();

  private BooleanSupplier readyAtTheThirdTime(String name) {
    return () -> {
      asked.add(name);
      return asked.stream().filter(name::equals).count() == 3;
    };
  }

  @Test
  void asksForTheNextGroupWhenTheFirstIsReady() {
    RowCode.await(
        List.of(readyAtTheThirdTime("forward"), readyAtTheThirdTime("selection")), 60_000_000_000L);
    assertThat(asked)
        .containsExactly("forward", "forward", "forward", "selection", "selection", "selection");
  }

  @Test
  void goesOnFromAGroupThatIsNeverReady() {
    RowCode.await(List.of(() -> false, readyAtTheThirdTime("selection")), 10_000_000L);
    assertThat(asked).startsWith("selection");
  }
}
