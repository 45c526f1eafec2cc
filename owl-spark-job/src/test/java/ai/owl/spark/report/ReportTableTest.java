package ai.owl.spark.report;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.allocation.Uniform;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** The columns are compared without the width of their gaps. */
class ReportTableTest {
  @Test
  void holdsBlocksTotalsPerplexitiesAndTimes() {
    PruneReport report = ReportExamples.prune(8);
    List<String> expected = new ArrayList<>();
    expected.add("block outliers % asked % reached % removed of");
    for (PruneReport.Block block : report.blocks()) {
      expected.add(
          Numbers.format(
              "%d %.4f %.3f %.3f %s 202 M",
              block.profile().block(),
              report.outlierRatio(block).orElseThrow(),
              100 * block.sparsity(),
              100 * block.reached(),
              ReportTable.count(block.zeros())));
    }
    expected.add(Numbers.format("all 70.000 %.3f 1.13 G 1.62 G", 100 * report.reached()));
    expected.add("");
    expected.add(
        "perplexity 5.6800 dense, 24.5500 pruned, over 166 windows of 339968 tokens in all");
    expected.add("");
    report.seconds().forEach((stage, s) -> expected.add(Numbers.format("%s %.1f s", stage, s)));
    expected.add("all stages 6272.6 s");
    report.findings().forEach(finding -> expected.add("note: " + finding));
    assertThat(lines(ReportTable.of(report))).isEqualTo(expected);
  }

  @Test
  void leavesOutWhatWasNotMeasured() {
    String table =
        ReportTable.of(ReportExamples.prune("m", 2, new Uniform(), Optional.empty(), Map.of()));
    assertThat(lines(table).get(1)).startsWith("0 - 70.000 ");
    assertThat(table).doesNotContain("perplexity");
  }

  @Test
  void sortsTheRowsOfASweepBestFirst() {
    SweepReport sweep = ReportExamples.sweep();
    List<String> lines = lines(ReportTable.of(sweep));
    assertThat(lines).hasSize(32);
    assertThat(lines.get(0)).isEqualTo("sparsity reached perplexity way");
    double best = sweep.best(0.4).orElseThrow().pruned().value();
    assertThat(lines.get(1)).startsWith("0.4000 ").contains(Numbers.format(" %.4f ", best));
    assertThat(lines.get(31)).isEqualTo("0 5.6800 dense");
  }

  @Test
  void abbreviatesCounts() {
    assertThat(
            List.of(0L, 9_999L, 10_000L, 99_949L, 999_499L, 999_500L, 6_476_005_376L).stream()
                .map(ReportTable::count))
        .containsExactly("0", "9999", "10.0 k", "99.9 k", "999 k", "1.00 M", "6.48 G");
  }

  private static List<String> lines(String table) {
    return table.lines().map(line -> line.strip().replaceAll(" +", " ")).toList();
  }
}
