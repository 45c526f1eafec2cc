package ai.owl.spark.report;

import static ai.owl.spark.report.Markup.px;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Perplexity, on a logarithmic axis, against sparsity: a line a method.
 *
 * @param curves in the order in which to be drawn
 * @param dense perplexity of the unpruned model; not finite if unknown
 */
record CurveChart(List<Curve> curves, double dense) implements Picture {
  /**
   * A method.
   *
   * @param name in full
   * @param style how its line and its marks look; null for one of many in the background
   * @param points by sparsity, all perplexities finite and positive
   */
  record Curve(String name, Style style, List<Point> points) {
    Point last() {
      return points.get(points.size() - 1);
    }
  }

  /** A sparsity as a fraction, and the perplexity at it. */
  record Point(double sparsity, double perplexity) {}

  /**
   * Told apart by more than hue.
   *
   * @param colour number of a colour, and of the shape of the marks
   * @param dash number of a pattern of dashes; the marks of all but the first are hollow
   */
  record Style(int colour, int dash) {
    static final int COLOURS = 5;
    static final int DASHES = 8;

    String line() {
      return "curve c" + colour % COLOURS + " d" + dash % DASHES;
    }

    void mark(Markup out, double x, double y, String hint) {
      double r = 4.5;
      String shape =
          switch (colour % COLOURS) {
            case 0 -> "M" + px(x - r) + " " + px(y) + "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z";
            case 1 -> "M" + px(x - 4) + " " + px(y - 4) + "h8v8h-8z";
            case 2 -> "M" + px(x) + " " + px(y - 5.5) + "l5.2 9.4h-10.4z";
            case 3 -> "M" + px(x) + " " + px(y - 6) + "l6 6l-6 6l-6 -6z";
            default -> "M" + px(x) + " " + px(y + 5.5) + "l5.2 -9.4h-10.4z";
          };
      String kind = "mark c" + colour % COLOURS + (dash == 0 ? "" : " hollow");
      out.open("path", "class", kind, "d", shape);
      if (hint != null) {
        out.leaf("title", hint);
      }
      out.close();
    }
  }

  private static final int LABEL = 34;

  @Override
  public String title() {
    return "Perplexity against sparsity";
  }

  @Override
  public String description() {
    StringBuilder text = new StringBuilder();
    if (Double.isFinite(dense)) {
      text.append("Dense perplexity ").append(Numbers.perplexity(dense)).append(". ");
    }
    text.append("Lower is better. ");
    for (Curve curve : byEnd()) {
      if (curve.style() != null) {
        Point first = curve.points().get(0);
        text.append(curve.name())
            .append(": from ")
            .append(Numbers.perplexity(first.perplexity()))
            .append(" at ")
            .append(Numbers.percent(first.sparsity()))
            .append(" to ")
            .append(Numbers.perplexity(curve.last().perplexity()))
            .append(" at ")
            .append(Numbers.percent(curve.last().sparsity()))
            .append(". ");
      }
    }
    return text.toString().strip();
  }

  private String denseName() {
    return "dense " + Numbers.perplexity(dense);
  }

  /** Those with a style, the worst end first, as they lie in the picture. */
  private List<Curve> byEnd() {
    return curves.stream()
        .filter(curve -> curve.style() != null)
        .sorted(Comparator.comparingDouble((Curve curve) -> -curve.last().perplexity()))
        .toList();
  }

  /** For telephones; on a wide screen the lines bear their names. */
  @Override
  public void legend(Markup out) {
    out.open("ul", "class", "legend narrow");
    for (Curve curve : byEnd()) {
      out.open("li").leaf("span", curve.name());
      out.open("svg", "viewBox", "0 0 30 16", "aria-hidden", "true");
      Picture.line(out, curve.style().line(), 0, 8, 30, 8);
      curve.style().mark(out, 15, 8, null);
      out.close().close();
    }
    if (curves.size() > byEnd().size()) {
      out.open("li").leaf("span", "other methods");
      out.open("svg", "viewBox", "0 0 30 16", "aria-hidden", "true");
      Picture.line(out, "curve other", 0, 8, 30, 8);
      out.close().close();
    }
    if (Double.isFinite(dense)) {
      out.open("li").leaf("span", denseName());
      out.open("svg", "viewBox", "0 0 30 16", "aria-hidden", "true");
      Picture.line(out, "reference", 0, 8, 30, 8);
      out.close().close();
    }
    out.close();
  }

  @Override
  public int height(int width) {
    int labels = 19 * byEnd().size() + 110;
    return width < WIDE ? 340 : Math.max(430, labels);
  }

  /** Where things lie. */
  private record Frame(
      Axis sparsities, Axis perplexities, double left, double right, double top, double bottom) {
    double x(Point point) {
      return sparsities.at(100 * point.sparsity(), left, right);
    }

    double y(double perplexity) {
      return perplexities.at(perplexity, bottom, top);
    }
  }

  @Override
  public void draw(Markup out, int width) {
    boolean wide = width == WIDE;
    double longest =
        byEnd().stream()
            .mapToDouble(curve -> Picture.width(Picture.shortened(curve.name(), LABEL)))
            .max()
            .orElse(0);
    longest = Math.max(longest, Picture.width(denseName()));
    Frame frame =
        new Frame(
            sparsities(),
            perplexities(),
            wide ? 72 : 56,
            wide ? width - longest - 44 : width - 14,
            wide ? 12 : 28,
            height(width) - 46);
    axes(out, frame, width);
    for (Curve curve : curves) {
      curve(out, curve, frame, wide);
    }
    if (wide) {
      names(out, frame);
    }
  }

  private void axes(Markup out, Frame frame, int width) {
    double left = frame.left();
    double right = frame.right();
    double bottom = frame.bottom();
    for (double tick : frame.perplexities().ticks()) {
      Picture.line(out, "grid", left, frame.y(tick), right, frame.y(tick));
      String name = frame.perplexities().name(tick);
      Picture.label(out, "tick end", left - 8, frame.y(tick) + 4.5, name);
    }
    double last = Double.NEGATIVE_INFINITY;
    for (double tick : frame.sparsities().ticks()) {
      double x = frame.sparsities().at(tick, left, right);
      Picture.line(out, "notch", x, bottom, x, bottom + 4);
      if (x - last >= 34) {
        Picture.label(out, "tick mid", x, bottom + 19, Numbers.trimmed(tick));
        last = x;
      }
    }
    Picture.line(out, "base", left, bottom, right, bottom);
    if (Double.isFinite(dense)) {
      Picture.line(out, "reference", left, frame.y(dense), right, frame.y(dense));
    }
    Picture.sideName(out, width, false, (frame.top() + bottom) / 2, "perplexity, log scale");
    Picture.label(out, "name mid", (left + right) / 2, bottom + 40, "sparsity, %");
  }

  private static void curve(Markup out, Curve curve, Frame frame, boolean wide) {
    StringBuilder points = new StringBuilder();
    for (Point point : curve.points()) {
      points.append(points.isEmpty() ? "" : " ").append(px(frame.x(point)));
      points.append(',').append(px(frame.y(point.perplexity())));
    }
    String kind = curve.style() == null ? "curve other" : curve.style().line();
    out.open("polyline", "class", kind, "points", points.toString());
    if (wide) {
      out.leaf("title", curve.name());
    }
    out.close();
    for (Point point : curve.points()) {
      double x = frame.x(point);
      double y = frame.y(point.perplexity());
      if (curve.style() == null) {
        out.empty("circle", "class", "other", "cx", px(x), "cy", px(y), "r", "2");
      } else {
        curve.style().mark(out, x, y, wide ? hint(curve, point) : null);
      }
    }
  }

  private static String hint(Curve curve, Point point) {
    return curve.name()
        + ", "
        + Numbers.percent(point.sparsity())
        + ": perplexity "
        + Numbers.precise(point.perplexity());
  }

  /** A line's end, which bears a name; without a style that of the dense model. */
  private record End(String name, Style style, double x, double y) {}

  /** Names beside the lines' ends, moved apart where they would overlap. */
  private void names(Markup out, Frame frame) {
    List<End> ends = new ArrayList<>();
    for (Curve curve : byEnd()) {
      String name = Picture.shortened(curve.name(), LABEL);
      double y = frame.y(curve.last().perplexity());
      ends.add(new End(name, curve.style(), frame.x(curve.last()) + 7, y));
    }
    if (Double.isFinite(dense)) {
      ends.add(new End(denseName(), null, frame.right(), frame.y(dense)));
    }
    ends.sort(Comparator.comparingDouble(End::y));
    double[] wanted = ends.stream().mapToDouble(End::y).toArray();
    double[] placed = apart(wanted, 19, frame.top() + 2, frame.bottom());
    double right = frame.right();
    for (int i = 0; i < placed.length; i++) {
      End end = ends.get(i);
      Picture.line(out, "leader", end.x(), end.y(), right + 22, placed[i]);
      if (end.style() == null) {
        Picture.line(out, "reference", right + 22, placed[i], right + 36, placed[i]);
      } else {
        end.style().mark(out, right + 29, placed[i], null);
      }
      Picture.label(out, "direct", right + 40, placed[i] + 4.5, end.name());
    }
  }

  /** Ascending places, moved as little as need be to lie some distance apart. */
  private static double[] apart(double[] wanted, double distance, double low, double high) {
    double[] placed = wanted.clone();
    for (int round = 0; round < 2; round++) {
      for (int i = 0; i < placed.length; i++) {
        double least = i == 0 ? low : placed[i - 1] + distance;
        placed[i] = Math.max(placed[i], least);
      }
      for (int i = placed.length - 1; i >= 0; i--) {
        double most = i == placed.length - 1 ? high : placed[i + 1] - distance;
        placed[i] = Math.min(placed[i], most);
      }
    }
    return placed;
  }

  private Axis perplexities() {
    List<Double> values = new ArrayList<>();
    if (Double.isFinite(dense)) {
      values.add(dense);
    }
    curves.forEach(curve -> curve.points().forEach(point -> values.add(point.perplexity())));
    double low = values.stream().mapToDouble(Double::doubleValue).min().orElseThrow();
    double high = values.stream().mapToDouble(Double::doubleValue).max().orElseThrow();
    return Axis.logarithmic(low, high, 9);
  }

  /** A tick at each sparsity that was tried. */
  private Axis sparsities() {
    List<Double> ticks =
        curves.stream()
            .flatMap(curve -> curve.points().stream())
            .map(point -> 100 * point.sparsity())
            .distinct()
            .sorted()
            .toList();
    double low = ticks.get(0);
    double high = ticks.get(ticks.size() - 1);
    double margin = Math.max(0.03 * (high - low), 0.05);
    return new Axis(low - margin, high + margin, false, ticks, 3);
  }
}
