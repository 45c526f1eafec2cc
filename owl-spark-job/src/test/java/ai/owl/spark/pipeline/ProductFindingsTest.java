package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

class ProductFindingsTest {
  private static final String HERE = "bfloat16 by oneDNN 3, AVX512-BF16";
  private final ProductFindings findings = new ProductFindings();

  @Test
  void isSilentWhereExecutorsDoAsTheDriverSaid() {
    assertThat(findings.findings(HERE, new TreeMap<>())).isEmpty();
    assertThat(findings.findings(HERE, seen(HERE, "a", "b"))).isEmpty();
  }

  @Test
  void namesExecutorsThatDoOtherwiseThanTheDriver() {
    SortedMap<String, TreeSet<String>> seen = seen("float32 by OpenBLAS", "b", "a");
    assertThat(findings.findings(HERE, seen))
        .containsExactly(
            "executors make products otherwise than this driver: float32 by OpenBLAS on a, b");
    assertThat(findings.findings(HERE, seen)).as("a second time").isEmpty();
  }

  @Test
  void namesExecutorsThatDifferAmongThemselves() {
    SortedMap<String, TreeSet<String>> seen = seen("float32 by OpenBLAS", "e", "d", "c", "b", "a");
    assertThat(findings.findings(HERE, seen)).hasSize(1);
    seen.putAll(seen(HERE, "f"));
    List<String> found = findings.findings(HERE, seen);
    assertThat(found).hasSize(1);
    assertThat(found.get(0))
        .startsWith(
            "executors make products in 2 ways: "
                + HERE
                + " on f; float32 by OpenBLAS on a, b, c and 2 more. ")
        .endsWith("the same command need not give the same bytes twice; machines of one kind do");
    assertThat(findings.findings(HERE, seen)).as("a second time").isEmpty();
  }

  private static SortedMap<String, TreeSet<String>> seen(String way, String... machines) {
    return new TreeMap<>(Map.of(way, new TreeSet<>(List.of(machines))));
  }
}
