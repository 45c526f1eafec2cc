package ai.owl.spark.report;

import static ai.owl.spark.report.Markup.px;

import java.util.List;

/**
 * By block and linear layer, the share of weights that is zero.
 *
 * @param blocks indices, from left to right
 * @param linears names inside a block, from top to bottom
 * @param reached by linear, then block; NaN where a block has no such layer
 * @param target sparsity
 */
record HeatMap(List<Integer> blocks, List<String> linears, List<double[]> reached, double target)
    implements Picture {
  /** Matplotlib's cividis, made to look alike to people with and without red-green blindness. */
  private static final int[] RAMP = {
    0x00224e, 0x123570, 0x3b496c, 0x575d6d, 0x707173, 0x8a8678, 0xa59c74, 0xc3b369, 0xe1cc55,
    0xfee838
  };

  private static final int LEGEND = 62;

  @Override
  public String title() {
    return "Sparsity of each linear layer";
  }

  @Override
  public String description() {
    double least = Double.POSITIVE_INFINITY;
    double greatest = Double.NEGATIVE_INFINITY;
    String leastAt = "";
    String greatestAt = "";
    for (int row = 0; row < linears.size(); row++) {
      for (int i = 0; i < blocks.size(); i++) {
        double value = reached.get(row)[i];
        String at = " (" + linears.get(row) + " of block " + blocks.get(i) + ")";
        if (value < least) {
          least = value;
          leastAt = at;
        }
        if (value > greatest) {
          greatest = value;
          greatestAt = at;
        }
      }
    }
    return Numbers.format(
        "%d blocks from left to right, %d linear layers from top to bottom; brighter is sparser,"
            + " from %s%s to %s%s.",
        blocks.size(),
        linears.size(),
        Numbers.percent(least),
        leastAt,
        Numbers.percent(greatest),
        greatestAt);
  }

  private double rowHeight() {
    return linears.size() > 24 ? 15 : 28;
  }

  @Override
  public int height(int width) {
    return (int) (6 + rowHeight() * linears.size() + 44 + LEGEND);
  }

  @Override
  public void draw(Markup out, int width) {
    double longest = linears.stream().mapToDouble(Picture::width).max().orElse(0);
    int characters = width < WIDE ? 10 : 30;
    double left = Math.min(longest, 8.0 * characters) + 10;
    double right = width - 4;
    double top = 6;
    double cellHeight = rowHeight();
    double band = Math.min(110, (right - left) / blocks.size());
    double gap = band >= 8 ? 1 : 0;
    Axis scale = scale();
    for (int row = 0; row < linears.size(); row++) {
      double y = top + row * cellHeight;
      String name = Picture.shortened(linears.get(row), characters);
      Picture.label(out, "tick end", left - 6, y + cellHeight / 2 + 4.5, name);
      for (int i = 0; i < blocks.size(); i++) {
        double value = reached.get(row)[i];
        if (Double.isFinite(value)) {
          cell(out, width, left + i * band, y, band - gap, cellHeight - 1, scale, row, i);
        }
      }
    }
    double bottom = top + linears.size() * cellHeight;
    Picture.blockNumbers(out, blocks, left, band, bottom + 17);
    Picture.label(out, "name mid", left + band * blocks.size() / 2, bottom + 37, "block");
    legend(out, scale, left, bottom + 50, Math.min(420, right - left - 20));
  }

  private void cell(
      Markup out,
      int width,
      double x,
      double y,
      double cellWidth,
      double cellHeight,
      Axis scale,
      int row,
      int block) {
    double value = reached.get(row)[block];
    int colour = colour(scale.at(100 * value, 0, 1));
    out.open(
        "rect",
        "class",
        "cell",
        "x",
        px(x),
        "y",
        px(y),
        "width",
        px(cellWidth),
        "height",
        px(cellHeight),
        "fill",
        hex(colour));
    if (width == WIDE) {
      out.leaf(
          "title",
          "block "
              + blocks.get(block)
              + ", "
              + linears.get(row)
              + ": "
              + Numbers.points(value)
              + " %");
    }
    out.close();
    if (cellWidth >= 35 && cellHeight >= 20) {
      out.leaf(
          "text",
          Numbers.format("%.1f", 100 * value),
          "class",
          luminance(colour) > 0.18 ? "value mid onlight" : "value mid ondark",
          "x",
          px(x + cellWidth / 2),
          "y",
          px(y + cellHeight / 2 + 4.5));
    }
  }

  /** From the least to the greatest, and never so near that rounding looks like a rule. */
  private Axis scale() {
    double low = 100 * target;
    double high = low;
    for (double[] row : reached) {
      for (double value : row) {
        if (Double.isFinite(value)) {
          low = Math.min(low, 100 * value);
          high = Math.max(high, 100 * value);
        }
      }
    }
    double lack = Math.max(0, 4 - (high - low)) / 2;
    double from = Math.max(0, low - lack);
    double to = Math.min(100, high + lack);
    Axis round = Axis.linear(from, to, 7);
    List<Double> ticks = round.ticks().stream().filter(t -> t >= from && t <= to).toList();
    return new Axis(from, to, false, ticks, round.decimals());
  }

  private void legend(Markup out, Axis scale, double left, double top, double width) {
    int steps = 48;
    for (int i = 0; i < steps; i++) {
      out.empty(
          "rect",
          "x",
          px(left + width * i / steps),
          "y",
          px(top),
          "width",
          px(width / steps + 0.4),
          "height",
          "12",
          "fill",
          hex(colour((i + 0.5) / steps)));
    }
    for (double tick : scale.ticks()) {
      double x = scale.at(tick, left, left + width);
      Picture.line(out, "notch", x, top + 12, x, top + 16);
      Picture.label(out, "tick mid", x, top + 30, scale.name(tick));
    }
    double x = scale.at(100 * target, left, left + width);
    out.empty("path", "class", "pointer", "d", "M" + px(x) + " " + px(top + 1) + "l-5 -8h10z");
    Picture.label(out, "name", left, top + 47, "share of zeros, %; the triangle: target");
  }

  private static int colour(double share) {
    double place = Math.max(0, Math.min(1, share)) * (RAMP.length - 1);
    int from = (int) Math.min(RAMP.length - 2, Math.floor(place));
    int mixed = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
      int a = RAMP[from] >> shift & 0xff;
      int b = RAMP[from + 1] >> shift & 0xff;
      mixed |= (int) Math.round(a + (place - from) * (b - a)) << shift;
    }
    return mixed;
  }

  /** Relative luminance as WCAG defines it. */
  private static double luminance(int colour) {
    double sum = 0;
    double[] shares = {0.2126, 0.7152, 0.0722};
    for (int i = 0; i < 3; i++) {
      double value = (colour >> (16 - 8 * i) & 0xff) / 255.0;
      sum +=
          shares[i] * (value <= 0.03928 ? value / 12.92 : Math.pow((value + 0.055) / 1.055, 2.4));
    }
    return sum;
  }

  private static String hex(int colour) {
    return Numbers.format("#%06x", colour);
  }
}
