package ai.owl.spark.report;

import ai.owl.pipeline.SweepReport;
import ai.owl.pipeline.SweepReport.Row;
import ai.owl.spark.report.CurveChart.Curve;
import ai.owl.spark.report.CurveChart.Point;
import ai.owl.spark.report.CurveChart.Style;
import ai.owl.zeroshot.ZeroShotResults;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** The page that compares many ways of pruning one model. */
final class SweepPage {
  /** With more methods than these, only the best of each metric and allocation has its name. */
  private static final int NAMED = 8;

  private final SweepReport sweep;
  private final List<Sample> samples;
  private final SweepFindings found;
  private final double dense;

  private SweepPage(SweepReport sweep, List<Sample> samples) {
    this.sweep = sweep;
    this.samples = samples;
    this.found = new SweepFindings(sweep);
    this.dense = sweep.dense().value();
  }

  static String of(SweepReport sweep, List<Sample> samples, Provenance provenance) {
    return new SweepPage(sweep, samples).html(provenance);
  }

  private String html(Provenance provenance) {
    Markup out = Page.begin("Comparison report", title(), lead(), tiles());
    Page.warnings(out, warnings());
    if (found.sparsities().size() == 1) {
      Page.section(out, "perplexity", "Perplexity of each method", () -> bars(out));
    } else if (found.sparsities().size() > 1) {
      Page.section(out, "perplexity", "Perplexity against sparsity", () -> curves(out));
      Page.section(out, "best", "The best at each sparsity", () -> best(out));
    }
    List<SweepFindings.Pair> pairs = found.pairs();
    if (!pairs.isEmpty()) {
      Page.section(out, "uniform", "What the allocation changes", () -> pairs(out, pairs));
    }
    if (!samples.isEmpty()) {
      Page.section(out, "samples", "What the models write", () -> samples(out));
    }
    found
        .shown()
        .ifPresent(
            row ->
                new BlockFigures(row.options(), row.blocks())
                    .write(
                        out,
                        found.sparsities().size() > 1
                            ? found.method(row) + " at " + Numbers.percent(row.options().sparsity())
                            : found.method(row)));
    Page.times(out, sweep.seconds());
    ObjectNode data = sweep.toJson();
    Map<String, String> settings = settings(data);
    if (!samples.isEmpty()) {
      ArrayNode texts = data.putArray("samples");
      samples.forEach(s -> texts.addObject().put("label", s.label()).put("text", s.text()));
    }
    Page.provenance(out, settings, provenance);
    return Page.end(out, data, provenance);
  }

  private String title() {
    String model = Page.name(sweep.model());
    String ways = counted(found.methods().size(), "way", "ways") + " to prune";
    return switch (found.sparsities().size()) {
      case 0 -> model + ": an empty grid";
      case 1 -> model + ": " + ways + " to " + Numbers.percent(found.sparsities().get(0));
      default -> model + ": " + ways + ", " + found.sparsities().size() + " sparsities";
    };
  }

  private String lead() {
    Optional<Row> focus = found.focus();
    if (focus.isEmpty()) {
      return "No row has a finite perplexity.";
    }
    Row row = focus.get();
    String at = Numbers.percent(row.options().sparsity());
    String numbers =
        Numbers.format(
            "%s, where the dense model has %s",
            Numbers.perplexity(row.pruned().value()), Numbers.perplexity(dense));
    String text;
    if (found.sparsities().size() == 1) {
      text =
          Numbers.format(
              "At %s sparsity, %s is the best of %s: perplexity %s.",
              at, found.method(row), counted(found.methods().size(), "method", "methods"), numbers);
    } else if (row.pruned().value() <= Page.EXPLODED * dense) {
      text =
          Numbers.format(
              "Perplexity stays within %.0f times the dense one up to %s sparsity, best with %s:"
                  + " %s.",
              Page.EXPLODED, at, found.method(row), numbers);
    } else {
      text =
          Numbers.format(
              "No method keeps perplexity within %.0f times the dense one. At %s, the lowest"
                  + " sparsity tried, %s is the best: %s.",
              Page.EXPLODED, at, found.method(row), numbers);
    }
    List<SweepFindings.Pair> pairs = found.pairs();
    if (pairs.isEmpty()) {
      return text;
    }
    long better = pairs.stream().filter(pair -> pair.change() < 0).count();
    Set<String> names = new LinkedHashSet<>();
    pairs.forEach(pair -> names.add(pair.other().options().allocator().name()));
    return text
        + Numbers.format(
            " With the same metric%s, %s is better than uniform in %d of %d comparisons.",
            found.sparsities().size() > 1 ? " and sparsity" : "",
            String.join(" or ", names),
            better,
            pairs.size());
  }

  private List<Page.Tile> tiles() {
    List<Page.Tile> tiles = new ArrayList<>();
    tiles.add(
        new Page.Tile(
            "Dense perplexity",
            "",
            Numbers.perplexity(dense),
            Numbers.format(
                "over %,d windows, %,d tokens; lower is better",
                sweep.dense().windows(), sweep.dense().tokens())));
    found
        .focus()
        .ifPresent(
            row ->
                tiles.add(
                    new Page.Tile(
                        "Best at " + Numbers.percent(row.options().sparsity()),
                        "",
                        Numbers.perplexity(row.pruned().value()),
                        found.method(row))));
    tiles.add(
        new Page.Tile(
            "Tried",
            "",
            Integer.toString(sweep.rows().size()),
            counted(found.methods().size(), "method", "methods")
                + " at "
                + counted(found.sparsities().size(), "sparsity", "sparsities")));
    if (Page.total(sweep.seconds()) > 0) {
      tiles.add(
          new Page.Tile(
              "Time",
              "",
              Numbers.duration(Page.total(sweep.seconds())),
              Numbers.format(
                  "%,d calibration sequences, %,d tokens", sweep.sequences(), sweep.tokens())));
    }
    return tiles;
  }

  private static String counted(int number, String one, String many) {
    return number + " " + (number == 1 ? one : many);
  }

  private List<Page.Warning> warnings() {
    List<Page.Warning> warnings = new ArrayList<>();
    List<String> exploded = new ArrayList<>();
    List<String> missed = new ArrayList<>();
    for (Row row : sweep.rows()) {
      double asked = row.options().sparsity();
      String what = found.method(row) + " at " + Numbers.percent(asked);
      if (!SweepFindings.plottable(row)) {
        exploded.add(what + ": no finite perplexity");
      } else if (row.pruned().value() > Page.EXPLODED * dense) {
        exploded.add(what + ": " + Numbers.perplexity(row.pruned().value()));
      }
      if (Math.abs(row.reached() - asked) > Page.MISSED) {
        missed.add(what + ": reached " + Numbers.percent(row.reached()));
      }
    }
    if (!exploded.isEmpty()) {
      warnings.add(
          new Page.Warning(
              Numbers.format(
                  "Perplexity exploded, to more than %.0f times the dense %s, in %d of %d rows.",
                  Page.EXPLODED, Numbers.perplexity(dense), exploded.size(), sweep.rows().size()),
              exploded));
    }
    if (!missed.isEmpty()) {
      warnings.add(
          new Page.Warning(
              Numbers.format(
                  "%d of %d rows missed the asked sparsity by more than %.1f percentage points. Each"
                      + " metric rounds in its own way, which shows in short rows and among equal"
                      + " weights; compare perplexities with that in mind.",
                  missed.size(), sweep.rows().size(), 100 * Page.MISSED),
              missed));
    }
    sweep.warnings().forEach(text -> warnings.add(Page.Warning.of(text)));
    return warnings;
  }

  private void bars(Markup out) {
    Optional<Row> best = found.focus();
    List<Row> sorted =
        sweep.rows().stream()
            .filter(SweepFindings::plottable)
            .sorted(Comparator.comparingDouble(row -> row.pruned().value()))
            .toList();
    if (!sorted.isEmpty() && dense > 0 && Double.isFinite(dense)) {
      double worst = sorted.get(sorted.size() - 1).pruned().value();
      boolean logarithmic = worst > 20 * Math.min(dense, sorted.get(0).pruned().value());
      List<BarChart.Bar> bars = new ArrayList<>();
      for (Row row : sorted) {
        boolean marked = best.filter(b -> b == row).isPresent();
        String number = Numbers.perplexity(row.pruned().value());
        bars.add(
            new BarChart.Bar(
                found.method(row),
                row.pruned().value(),
                marked ? number + " (best)" : number,
                marked));
      }
      String scale = logarithmic ? " The axis is logarithmic." : "";
      Picture.figure(
          out,
          "perplexity-figure",
          new BarChart(
              "Perplexity of each method",
              Numbers.format(
                  "Bars from the best, %s with %s, to the worst, %s with %s. Dense: %s.",
                  found.method(sorted.get(0)),
                  Numbers.perplexity(sorted.get(0).pruned().value()),
                  found.method(sorted.get(sorted.size() - 1)),
                  Numbers.perplexity(worst),
                  Numbers.perplexity(dense)),
              bars,
              logarithmic,
              dense,
              "dense " + Numbers.perplexity(dense)),
          "The shorter the better; the dashed line is the dense model." + scale);
    }
    rows(out, sweep.rows().stream().sorted(SweepFindings.byPerplexity()).toList());
  }

  private void curves(Markup out) {
    Map<String, Curve> curves = new LinkedHashMap<>();
    Map<String, Style> styles = styles();
    found
        .methods()
        .forEach(
            (name, rows) -> {
              List<Point> points =
                  rows.stream()
                      .filter(SweepFindings::plottable)
                      .map(row -> new Point(row.options().sparsity(), row.pruned().value()))
                      .sorted(Comparator.comparingDouble(Point::sparsity))
                      .toList();
              if (!points.isEmpty()) {
                curves.put(name, new Curve(name, styles.get(name), points));
              }
            });
    if (!curves.isEmpty()) {
      // Those in the background first.
      List<Curve> drawn = new ArrayList<>();
      curves.values().stream().filter(curve -> curve.style() == null).forEach(drawn::add);
      curves.values().stream().filter(curve -> curve.style() != null).forEach(drawn::add);
      String text =
          "The lower the better. A metric has a colour and a shape; an allocation has a pattern of"
              + " dashes.";
      if (styles.size() < curves.size()) {
        text +=
            Numbers.format(
                " Of %d methods, the best of each metric and allocation is named; the others are"
                    + " grey.",
                curves.size());
      }
      double reference = dense > 0 ? dense : Double.NaN;
      Picture.figure(out, "perplexity-figure", new CurveChart(drawn, reference), text);
    }
    pivot(out);
    rows(out, sweep.rows());
  }

  /** How the methods that have a name look. */
  private Map<String, Style> styles() {
    Set<String> named = new LinkedHashSet<>(found.methods().keySet());
    if (named.size() > NAMED) {
      named = new LinkedHashSet<>();
      double sparsity = found.focus().map(row -> row.options().sparsity()).orElse(0.0);
      Map<String, Row> champions = new LinkedHashMap<>();
      for (Row row : sweep.rows()) {
        if (row.options().sparsity() == sparsity && SweepFindings.plottable(row)) {
          champions.merge(
              found.metric(row) + " " + row.options().allocator().name(),
              row,
              (a, b) -> b.pruned().value() < a.pruned().value() ? b : a);
        }
      }
      for (Row row : champions.values()) {
        named.add(found.method(row));
      }
    }
    List<String> colours = new ArrayList<>();
    Map<String, Integer> dashes = new LinkedHashMap<>();
    Map<String, Style> styles = new LinkedHashMap<>();
    for (String name : named) {
      Row row = found.methods().get(name).get(0);
      String colour = found.metric(row);
      if (!colours.contains(colour)) {
        colours.add(colour);
      }
      boolean uniform = row.options().allocator().name().equals("uniform");
      int others = dashes.getOrDefault(colour, 0);
      int dash = uniform ? 1 : others == 0 ? 0 : others + 1;
      if (!uniform) {
        dashes.put(colour, others + 1);
      }
      styles.put(name, new Style(colours.indexOf(colour), dash));
    }
    return styles;
  }

  private void pivot(Markup out) {
    List<String> columns = new ArrayList<>(List.of("method"));
    found.sparsities().forEach(sparsity -> columns.add(Numbers.percent(sparsity)));
    List<List<String>> cells = new ArrayList<>();
    found.methods().forEach((name, rows) -> cells.add(line(name, rows)));
    DataTable.of("Perplexity by method and sparsity (★ best)", columns, cells).write(out);
  }

  /** A method's perplexities, by sparsity. */
  private List<String> line(String name, List<Row> rows) {
    List<String> line = new ArrayList<>(List.of(name));
    for (double sparsity : found.sparsities()) {
      Optional<Row> tried =
          rows.stream().filter(row -> row.options().sparsity() == sparsity).findFirst();
      Optional<Row> best = found.best(sparsity);
      String star = tried.isPresent() && tried.equals(best) ? "★ " : "";
      line.add(tried.map(row -> star + Numbers.perplexity(row.pruned().value())).orElse(""));
    }
    return line;
  }

  private void rows(Markup out, List<Row> rows) {
    boolean tasks = !sweep.denseTasks().isEmpty();
    List<List<String>> cells = new ArrayList<>();
    List<Integer> marked = new ArrayList<>();
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.get(i);
      double sparsity = row.options().sparsity();
      boolean best = found.best(sparsity).filter(b -> b == row).isPresent();
      if (best) {
        marked.add(i);
      }
      List<String> line =
          new ArrayList<>(
              List.of(
                  found.method(row),
                  Numbers.points(sparsity),
                  Numbers.points(row.reached()),
                  Numbers.precise(row.pruned().value()),
                  Numbers.factor(row.pruned().value() / dense),
                  best ? "best" : ""));
      if (tasks) {
        line.add(5, row.tasks().stream().map(SweepPage::mean).findFirst().orElse(Numbers.NONE));
      }
      cells.add(line);
    }
    List<String> columns =
        new ArrayList<>(
            List.of("method", "asked, %", "reached, %", "perplexity", "to dense", "note"));
    if (tasks) {
      columns.add(5, "mean acc (dense " + mean(sweep.denseTasks().get(0)) + ")");
    }
    DataTable.of("All that was tried", columns, cells)
        .withWords(columns.size() - 1)
        .withMarked(marked)
        .write(out);
  }

  /** Of the tasks' accuracies. */
  private static String mean(ZeroShotResults results) {
    return Numbers.format("%.4f", results.mean());
  }

  private void best(Markup out) {
    List<List<String>> cells = new ArrayList<>();
    for (double sparsity : found.sparsities()) {
      Optional<Row> best = found.best(sparsity);
      cells.add(
          List.of(
              Numbers.percent(sparsity),
              best.map(found::method).orElse(Numbers.NONE),
              best.map(row -> Numbers.precise(row.pruned().value())).orElse(Numbers.NONE),
              best.map(row -> Numbers.factor(row.pruned().value() / dense)).orElse(Numbers.NONE)));
    }
    DataTable.of(
            "The best method at each sparsity",
            List.of("sparsity", "method", "perplexity", "to dense"),
            cells)
        .withWords(1)
        .write(out);
  }

  private void pairs(Markup out, List<SweepFindings.Pair> pairs) {
    out.leaf(
        "p",
        "The same metric, asked for the same sparsity, spread evenly over the blocks (uniform) and by the"
            + " best other allocation.",
        "class",
        "caption");
    List<List<String>> cells = new ArrayList<>();
    for (SweepFindings.Pair pair : pairs) {
      cells.add(
          List.of(
              found.sparsities().size() == 1
                  ? pair.metric()
                  : pair.metric() + " at " + Numbers.percent(pair.uniform().options().sparsity()),
              Numbers.perplexity(pair.uniform().pruned().value()),
              Numbers.perplexity(pair.other().pruned().value()),
              pair.other().options().allocator().label(),
              Numbers.format("%+,.1f\u00a0%%", 100 * pair.change()).replace('-', '−')));
    }
    DataTable.of(
            "Perplexity with uniform and with uneven allocation",
            List.of("metric", "uniform", "best other", "which is", "change"),
            cells)
        .withWords(3)
        .write(out);
  }

  private void samples(Markup out) {
    out.open("div", "class", "samples");
    for (Sample sample : samples) {
      out.open("article");
      List<Row> rows =
          sweep.rows().stream()
              .filter(
                  row ->
                      row.label().equals(sample.label())
                          || found.method(row).equals(sample.label()))
              .toList();
      out.leaf("h3", rows.isEmpty() ? sample.label() : found.method(rows.get(0)));
      if (rows.size() == 1) {
        String number = Numbers.perplexity(rows.get(0).pruned().value());
        out.leaf("p", "perplexity " + number, "class", "note");
      } else if (sample.label().equals("dense")) {
        out.leaf("p", "perplexity " + Numbers.perplexity(dense), "class", "note");
      }
      out.open("blockquote").leaf("p", sample.text().strip()).close();
      out.close();
    }
    out.close();
  }

  /** What is common, and of the grid every value tried. */
  private Map<String, String> settings(ObjectNode data) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("model", sweep.model());
    Map<String, Set<String>> grid = new LinkedHashMap<>();
    Set<String> results = Set.of("reached", "perplexity", "sparsities", "best");
    for (JsonNode row : data.path("rows")) {
      row.fields()
          .forEachRemaining(
              field -> {
                if (!results.contains(field.getKey()) && !field.getValue().isNull()) {
                  grid.computeIfAbsent(field.getKey(), key -> new LinkedHashSet<>())
                      .add(field.getValue().asText());
                }
              });
    }
    grid.forEach((key, values) -> settings.put(key, String.join(", ", values)));
    Page.flatten("architecture", data.path("architecture"), settings);
    Page.flatten("calibration", data.path("calibration"), settings);
    Page.flatten("evaluation.windows", data.path("perplexity").path("windows"), settings);
    return settings;
  }
}
