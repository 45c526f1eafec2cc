package ai.owl.spark.report;

import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import java.util.List;

/**
 * A result as one self-contained HTML page, for people: no network, no scripts, the pictures drawn
 * as SVG, under each a table of its numbers, and all of the data embedded as JSON in the element
 * {@code owl-data}. The page is well-formed XML too. The same input gives the same characters.
 */
public final class HtmlReport {
  private HtmlReport() {}

  /** The page of one pruning run. */
  public static String of(PruneReport report, Provenance provenance) {
    return PrunePage.of(report, provenance);
  }

  /** The page that compares many ways of pruning. */
  public static String of(SweepReport sweep, Provenance provenance) {
    return SweepPage.of(sweep, List.of(), provenance);
  }

  /** The same with what the models write, in the given order. */
  public static String of(SweepReport sweep, List<Sample> samples, Provenance provenance) {
    return SweepPage.of(sweep, samples, provenance);
  }
}
