package ai.owl.spark.report;

import static ai.owl.spark.report.Markup.px;

import java.util.List;

/**
 * Bars from left to right, one under another, each with its name and its number.
 *
 * @param logarithmic whether the numbers differ too much for lengths in proportion
 * @param reference a value to draw a line at; not finite for none
 * @param referenceName what the line is called
 */
record BarChart(
    String title,
    String description,
    List<Bar> bars,
    boolean logarithmic,
    double reference,
    String referenceName)
    implements Picture {
  /**
   * One of them.
   *
   * @param value finite
   * @param text the value as written beside it
   * @param marked whether it stands out
   */
  record Bar(String name, double value, String text, boolean marked) {}

  /** Of numbers that begin at 0. */
  static BarChart of(String title, String description, List<Bar> bars) {
    return new BarChart(title, description, bars, false, Double.NaN, "");
  }

  private static final int LABEL = 40;

  private int head() {
    return Double.isFinite(reference) ? 24 : 4;
  }

  private static int rowHeight(int width) {
    return width < WIDE ? 46 : 30;
  }

  @Override
  public int height(int width) {
    return head() + rowHeight(width) * bars.size() + 4;
  }

  @Override
  public void draw(Markup out, int width) {
    boolean wide = width == WIDE;
    double names =
        bars.stream()
            .mapToDouble(bar -> Picture.width(Picture.shortened(bar.name(), LABEL)))
            .max()
            .orElse(0);
    double numbers = bars.stream().mapToDouble(bar -> Picture.width(bar.text())).max().orElse(0);
    double left = wide ? names + 14 : 2;
    double right = width - numbers - 12;
    Axis axis = axis();
    double bottom = height(width) - 4;
    for (int i = 0; i < bars.size(); i++) {
      Bar bar = bars.get(i);
      double y = head() + i * rowHeight(width) + (wide ? 4 : 22);
      double length = Math.max(1.5, axis.at(bar.value(), 0, right - left));
      if (wide) {
        String name = Picture.shortened(bar.name(), LABEL);
        Picture.label(out, "direct end", left - 8, y + 15.5, name);
      } else {
        Picture.label(out, "direct", left, y - 6, Picture.shortened(bar.name(), 46));
      }
      out.open(
          "rect",
          "class",
          bar.marked() ? "bar best" : "bar",
          "x",
          px(left),
          "y",
          px(y),
          "width",
          px(length),
          "height",
          "20");
      out.leaf("title", bar.name() + ": " + bar.text());
      out.close();
      String kind = bar.marked() ? "direct strong" : "direct";
      Picture.label(out, kind, left + length + 7, y + 15, bar.text());
    }
    if (wide) {
      Picture.line(out, "base", left, head(), left, bottom);
    }
    if (Double.isFinite(reference)) {
      double x = axis.at(reference, left, right);
      if (wide) {
        Picture.line(out, "reference", x, head() - 4, x, bottom);
      } else {
        // Not through the names, which lie between the bars.
        for (int i = 0; i < bars.size(); i++) {
          double y = head() + i * rowHeight(width) + 22;
          Picture.line(out, "reference", x, y - 3, x, y + 23);
        }
      }
      boolean near = x + Picture.width(referenceName) > width;
      Picture.label(out, near ? "note end" : "note", x, head() - 9, referenceName);
    }
  }

  private Axis axis() {
    double high = bars.stream().mapToDouble(Bar::value).max().orElse(1);
    double low = bars.stream().mapToDouble(Bar::value).min().orElse(0);
    if (Double.isFinite(reference)) {
      high = Math.max(high, reference);
      low = Math.min(low, reference);
    }
    return logarithmic && low / 2 > 0
        ? new Axis(low / 2, high, true, List.of(), 0)
        : new Axis(0, high > 0 ? high : 1, false, List.of(), 0);
  }
}
