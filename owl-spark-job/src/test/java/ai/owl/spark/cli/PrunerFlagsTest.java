package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.pruning.ComparisonGroup;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.Wanda;
import ai.owl.spark.cli.PrunerFlags.Metric;
import java.util.List;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

class PrunerFlagsTest {
  /** A sweep over metrics may set what one of them takes. */
  @Test
  void aFlagIsForThoseOfSeveralMetricsThatKnowIt() {
    PrunerFlags flags = parse("--dampening", "0.1", "--comparison-group", "MATRIX");
    assertThat(flags.pruners(List.of(Metric.WANDA, Metric.SPARSEGPT)))
        .containsExactly(
            new MetricPruner(new Wanda(), ComparisonGroup.MATRIX), new SparseGpt(0.1, 128));
  }

  @Test
  void aFlagThatNoMetricKnowsIsRefused() {
    assertThatThrownBy(() -> parse("--dampening", "0.1").pruners(List.of(Metric.WANDA, Metric.RIA)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Cannot use --dampening with --metric wanda,ria: it belongs to sparsegpt");
    assertThatThrownBy(
            () -> parse("--use-variant", "--comparison-group", "ROW").pruner(Metric.WANDA))
        .hasMessageStartingWith("Cannot use --comparison-group with --metric wanda: ");
  }

  private static PrunerFlags parse(String... args) {
    PrunerFlags flags = new PrunerFlags();
    new CommandLine(CommandLine.Model.CommandSpec.forAnnotatedObject(flags))
        .registerConverter(
            ai.owl.allocation.Rounding.class, value -> ai.owl.allocation.Rounding.PUBLISHED)
        .parseArgs(args);
    return flags;
  }
}
