package ai.owl.spark.report;

import static ai.owl.spark.report.Markup.px;

import java.util.Collections;
import java.util.List;

/**
 * The picture of the OWL paper: by block, outlier ratio as bars and sparsity as a line.
 *
 * @param blocks indices
 * @param outlierRatios in percent, one a block; empty if nobody counted
 * @param threshold M that the outliers were counted at, if they were
 * @param sparsities asked of each block, as fractions
 * @param target sparsity, as a fraction
 */
record BlockChart(
    List<Integer> blocks,
    List<Double> outlierRatios,
    double threshold,
    List<Double> sparsities,
    double target)
    implements Picture {
  @Override
  public String title() {
    return outlierRatios.isEmpty()
        ? "Sparsity of each block"
        : "Outlier ratio and sparsity of each block";
  }

  @Override
  public String description() {
    String text = "";
    if (!outlierRatios.isEmpty()) {
      text =
          "Bars: outlier ratios at M = "
              + Numbers.trimmed(threshold)
              + " between "
              + extreme(outlierRatios, false, 0.01)
              + " and "
              + extreme(outlierRatios, true, 0.01)
              + ". ";
    }
    return text
        + "Line: sparsities between "
        + extreme(sparsities, false, 1)
        + " and "
        + extreme(sparsities, true, 1)
        + "; the target is "
        + Numbers.percent(target)
        + ".";
  }

  private String extreme(List<Double> values, boolean greatest, double unit) {
    double value = greatest ? Collections.max(values) : Collections.min(values);
    return Numbers.percent(value * unit) + " (block " + blocks.get(values.indexOf(value)) + ")";
  }

  @Override
  public void legend(Markup out) {
    out.open("ul", "class", "legend");
    if (!outlierRatios.isEmpty()) {
      sample(out, "outlier ratio (left axis)");
      out.empty("rect", "class", "bar", "x", "9", "y", "1", "width", "12", "height", "14");
      out.close().close();
    }
    sample(out, outlierRatios.isEmpty() ? "sparsity" : "sparsity (right axis)");
    Picture.line(out, "curve c1", 0, 8, 30, 8);
    out.empty("circle", "class", "mark c1", "cx", "15", "cy", "8", "r", "4");
    out.close().close();
    sample(out, "target, " + Numbers.percent(target) + " everywhere");
    Picture.line(out, "reference", 0, 8, 30, 8);
    out.close().close();
    out.close();
  }

  private static void sample(Markup out, String text) {
    out.open("li").leaf("span", text);
    out.open("svg", "viewBox", "0 0 30 16", "aria-hidden", "true");
  }

  @Override
  public int height(int width) {
    return width < WIDE ? 290 : 330;
  }

  @Override
  public void draw(Markup out, int width) {
    boolean bars = !outlierRatios.isEmpty();
    double side = width < WIDE ? 40 : 62;
    double left = bars ? side : 8;
    double right = width - side;
    double top = width < WIDE ? 28 : 10;
    double bottom = height(width) - 44;
    double band = (right - left) / blocks.size();
    int most = width < WIDE ? 5 : 6;
    double low = Math.min(Collections.min(sparsities), target);
    double high = Math.max(Collections.max(sparsities), target);
    double margin = Math.max(0.06 * (high - low), 0.01);
    Axis sparsity =
        Axis.linear(100 * Math.max(0, low - margin), 100 * Math.min(1, high + margin), most);
    for (double tick : sparsity.ticks()) {
      double y = sparsity.at(tick, bottom, top);
      Picture.line(out, "grid", left, y, right, y);
      Picture.label(out, "tick", right + 8, y + 4.5, sparsity.name(tick));
    }
    if (bars) {
      Axis outliers = Axis.linear(0, Collections.max(outlierRatios), most);
      for (double tick : outliers.ticks()) {
        double y = outliers.at(tick, bottom, top);
        Picture.label(out, "tick end", left - 8, y + 4.5, outliers.name(tick));
        Picture.line(out, "notch", left - 4, y, left, y);
      }
      double thickness = Math.min(64, band * (band < 5 ? 0.8 : 0.7));
      for (int i = 0; i < blocks.size(); i++) {
        double y = outliers.at(outlierRatios.get(i), bottom, top);
        out.open(
            "rect",
            "class",
            "bar",
            "x",
            px(left + band * (i + 0.5) - thickness / 2),
            "y",
            px(y),
            "width",
            px(thickness),
            "height",
            px(bottom - y));
        hint(out, width, i);
        out.close();
      }
      Picture.sideName(out, width, false, (top + bottom) / 2, "outlier ratio, %");
    }
    double y = sparsity.at(100 * target, bottom, top);
    Picture.line(out, "reference", left, y, right, y);
    line(out, sparsity, left, band, top, bottom, width);
    Picture.line(out, "base", left, bottom, right, bottom);
    Picture.sideName(out, width, true, (top + bottom) / 2, "sparsity, %");
    Picture.blockNumbers(out, blocks, left, band, bottom + 18);
    Picture.label(out, "name mid", (left + right) / 2, bottom + 38, "block");
  }

  private void line(
      Markup out, Axis axis, double left, double band, double top, double bottom, int width) {
    StringBuilder points = new StringBuilder();
    for (int i = 0; i < blocks.size(); i++) {
      double y = axis.at(100 * sparsities.get(i), bottom, top);
      points.append(i == 0 ? "" : " ").append(px(left + band * (i + 0.5)));
      points.append(',').append(px(y));
    }
    out.empty("polyline", "class", "halo", "points", points.toString());
    out.empty("polyline", "class", "curve c1", "points", points.toString());
    double radius = Math.min(4.5, Math.max(1.8, band * 0.28));
    for (int i = 0; i < blocks.size(); i++) {
      double x = left + band * (i + 0.5);
      double y = axis.at(100 * sparsities.get(i), bottom, top);
      out.open(
          "circle",
          "class",
          radius < 3.5 ? "mark c1 small" : "mark c1",
          "cx",
          px(x),
          "cy",
          px(y),
          "r",
          px(radius));
      hint(out, width, i);
      out.close();
    }
  }

  /** What the mouse is told of a block; telephones have none. */
  private void hint(Markup out, int width, int i) {
    if (width < WIDE) {
      return;
    }
    String ratio =
        outlierRatios.isEmpty()
            ? ""
            : "outlier ratio " + Numbers.ratio(outlierRatios.get(i)) + " %, ";
    out.leaf(
        "title",
        "block "
            + blocks.get(i)
            + ": "
            + ratio
            + "sparsity "
            + Numbers.points(sparsities.get(i))
            + " %");
  }
}
