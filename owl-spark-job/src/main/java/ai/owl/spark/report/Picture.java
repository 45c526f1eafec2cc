package ai.owl.spark.report;

import java.util.List;

/** Something to look at, drawn as SVG in either of two widths: for screens and for telephones. */
sealed interface Picture permits BarChart, BlockChart, CurveChart, HeatMap {
  int WIDE = 860;
  int NARROW = 380;

  /** What it shows, in a few words. */
  String title();

  /** What there is to see in it, for those who cannot. */
  String description();

  /** What its marks mean, for a line over the picture; draws nothing if the picture says so. */
  default void legend(Markup out) {}

  /** Height at a width, in pixels. */
  int height(int width);

  void draw(Markup out, int width);

  /**
   * Writes a figure.
   *
   * @param id unique on the page
   * @param caption how to read it
   */
  static void figure(Markup out, String id, Picture picture, String caption) {
    out.open("figure", "id", id);
    out.leaf("figcaption", caption);
    picture.legend(out);
    svg(out, id + "-wide", "wide", picture, WIDE);
    svg(out, id + "-narrow", "narrow", picture, NARROW);
    out.close();
  }

  /** Text in a picture. */
  static void label(Markup out, String kind, double x, double y, String text) {
    out.leaf("text", text, "class", kind, "x", Markup.px(x), "y", Markup.px(y));
  }

  /**
   * Names an axis at the side: upright beside its middle, or above it where there is no room.
   *
   * @param right which side
   */
  static void sideName(Markup out, int width, boolean right, double middle, String text) {
    if (width < WIDE) {
      label(out, right ? "name end" : "name", right ? width : 0, 13, text);
      return;
    }
    double x = right ? width - 6 : 14;
    out.leaf(
        "text",
        text,
        "class",
        "name mid",
        "x",
        Markup.px(x),
        "y",
        Markup.px(middle),
        "transform",
        "rotate(-90 " + Markup.px(x) + " " + Markup.px(middle) + ")");
  }

  static void line(Markup out, String kind, double x1, double y1, double x2, double y2) {
    out.empty(
        "line",
        "class",
        kind,
        "x1",
        Markup.px(x1),
        "y1",
        Markup.px(y1),
        "x2",
        Markup.px(x2),
        "y2",
        Markup.px(y2));
  }

  /** Names the blocks under a picture in which each takes the same width. */
  static void blockNumbers(Markup out, List<Integer> blocks, double left, double band, double y) {
    int stride = 1;
    for (int next : new int[] {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}) {
      stride = next;
      if (band * next >= 24) {
        break;
      }
    }
    for (int i = 0; i < blocks.size(); i++) {
      if (blocks.get(i) % stride == 0) {
        label(out, "tick mid", left + band * (i + 0.5), y, Integer.toString(blocks.get(i)));
      }
    }
  }

  /** How wide a text is at most, but for unusual letters. */
  static double width(String text) {
    return 8 * text.codePointCount(0, text.length());
  }

  /** The text, cut off if it is longer than some characters. */
  static String shortened(String text, int most) {
    if (text.codePointCount(0, text.length()) <= most) {
      return text;
    }
    return text.substring(0, text.offsetByCodePoints(0, most - 1)) + "…";
  }

  private static void svg(Markup out, String id, String kind, Picture picture, int width) {
    int height = picture.height(width);
    out.open(
        "svg",
        "class",
        kind,
        "viewBox",
        "0 0 " + width + " " + height,
        "role",
        "img",
        "aria-labelledby",
        id + "-title " + id + "-desc");
    out.leaf("title", picture.title(), "id", id + "-title");
    out.leaf("desc", picture.description(), "id", id + "-desc");
    picture.draw(out, width);
    out.close();
  }
}
