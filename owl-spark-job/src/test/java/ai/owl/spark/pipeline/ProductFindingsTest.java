package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class ProductFindingsTest {
  private static final String HERE = "bfloat16 by oneDNN 3, AVX512-BF16";
  private static final String THERE = HERE + ", on AVX512-BF16";

  @Test
  void isSilentWhereExecutorsDoAsTheDriverSaid() {
    assertThat(ProductFindings.of(HERE, new TreeMap<>())).isEmpty();
    assertThat(ProductFindings.of(HERE, seen(THERE, "a", "b"))).isEmpty();
  }

  @Test
  void namesExecutorsThatDoOtherwiseThanTheDriver() {
    assertThat(ProductFindings.of(HERE, seen("float32 by OpenBLAS, on AVX2", "b", "a")))
        .contains(
            "executors make products otherwise than this driver: float32 by OpenBLAS, on AVX2 on a,"
                + " b");
  }

  /** Where the driver lacks what executors have, as well as the other way round. */
  @Test
  void aWayThatBeginsLikeTheDriversIsAnother() {
    assertThat(
            ProductFindings.of(
                "float32 by OpenBLAS",
                seen("float32 by OpenBLAS, skipping zeros where they are 75 %, on AVX2", "a")))
        .isPresent();
  }

  @Test
  void namesExecutorsThatDifferAmongThemselves() {
    SortedMap<String, SortedSet<String>> seen =
        seen("float32 by OpenBLAS, on AVX2", "e", "d", "c", "b", "a");
    seen.putAll(seen(THERE, "f"));
    assertThat(ProductFindings.of(HERE, seen).orElseThrow())
        .startsWith(
            "executors make products in 2 ways: "
                + THERE
                + " on f; float32 by OpenBLAS, on AVX2 on a, b, c and 2 more. ")
        .endsWith("the same command need not give the same bytes twice; machines of one kind do");
  }

  private static SortedMap<String, SortedSet<String>> seen(String way, String... machines) {
    return new TreeMap<>(Map.of(way, new TreeSet<>(List.of(machines))));
  }
}
