package ai.owl.spark.report;

import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.PruneRun;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/** What all reports have in common: the frame, and how the result came about. */
final class Page {
  /** A perplexity this many times the dense one is no use to anybody. */
  static final double EXPLODED = PruneReport.EXPLODED;

  /** A sparsity further off than this is worth a word. */
  static final double MISSED = PruneReport.MISSED;

  private static final Pattern PLAIN_WORD = Pattern.compile("[\\w@%+=:,./-]+");

  private Page() {}

  /**
   * A number to see from afar.
   *
   * @param before what it was, shown before an arrow; empty if it does not come from anywhere
   */
  record Tile(String name, String before, String number, String note) {}

  /**
   * What the user should know.
   *
   * @param details each on a line of its own
   */
  record Warning(String text, List<String> details) {
    /** A sentence that came as a note, without its capital. */
    static Warning of(String text) {
      int first = text.isEmpty() ? 0 : text.offsetByCodePoints(0, 1);
      String capital = text.substring(0, first).toUpperCase(Locale.ROOT);
      return new Warning(capital + text.substring(first), List.of());
    }
  }

  /** Begins a page; its sections come next, then {@link #end}. */
  static Markup begin(String kind, String title, String lead, List<Tile> tiles) {
    Markup out = new Markup();
    out.open("html", "lang", "en").open("head");
    out.empty("meta", "charset", "utf-8");
    out.empty("meta", "name", "viewport", "content", "width=device-width, initial-scale=1");
    out.empty("meta", "name", "color-scheme", "content", "light dark");
    // Nothing is ever fetched or run.
    out.empty(
        "meta",
        "http-equiv",
        "Content-Security-Policy",
        "content",
        "default-src 'none'; style-src 'unsafe-inline'");
    out.leaf("title", title + " – owl-spark");
    out.open("style").verbatim(style()).close();
    out.close();
    out.open("body");
    out.open("header");
    out.leaf("p", kind, "class", "kind");
    out.leaf("h1", title);
    out.leaf("p", lead, "class", "lead");
    out.open("dl", "class", "tiles");
    for (Tile tile : tiles) {
      out.open("div");
      out.leaf("dt", tile.name());
      out.open("dd", "class", "number");
      if (!tile.before().isEmpty()) {
        out.leaf("span", tile.before(), "class", "before");
        out.leaf("span", " → ", "aria-hidden", "true").leaf("span", "to", "class", "spoken");
      }
      out.leaf("span", tile.number()).close();
      out.leaf("dd", tile.note(), "class", "note");
      out.close();
    }
    out.close().close();
    return out.open("main");
  }

  /** A part with a heading. */
  static void section(Markup out, String id, String heading, Runnable content) {
    out.open("section", "id", id, "aria-labelledby", id + "-heading");
    out.leaf("h2", heading, "id", id + "-heading");
    content.run();
    out.close();
  }

  static void warnings(Markup out, List<Warning> warnings) {
    if (warnings.isEmpty()) {
      return;
    }
    out.open(
        "section", "id", "warnings", "class", "warnings", "aria-labelledby", "warnings-heading");
    out.leaf("h2", warnings.size() == 1 ? "A warning" : "Warnings", "id", "warnings-heading");
    out.open("ul");
    for (Warning warning : warnings) {
      out.open("li").leaf("span", warning.text());
      if (!warning.details().isEmpty()) {
        boolean folded = warning.details().size() > 5;
        if (folded) {
          out.open("details");
          out.leaf("summary", "All " + warning.details().size());
        }
        out.open("ul");
        warning.details().forEach(detail -> out.leaf("li", detail));
        out.close();
        if (folded) {
          out.close();
        }
      }
      out.close();
    }
    out.close().close();
  }

  /** Where the time went. */
  static void times(Markup out, Map<String, Double> seconds) {
    List<BarChart.Bar> bars = new ArrayList<>();
    List<List<String>> rows = new ArrayList<>();
    double total = total(seconds);
    Map<String, Double> inOrder = new LinkedHashMap<>(); // a sweep goes through them many times
    PruneRun.STAGES.stream()
        .filter(seconds::containsKey)
        .forEach(stage -> inOrder.put(stage, seconds.get(stage)));
    inOrder.putAll(seconds);
    inOrder.forEach(
        (stage, value) -> {
          if (Double.isFinite(value) && value >= 0) {
            String share = total > 0 ? Numbers.format("%.1f", 100 * value / total) : Numbers.NONE;
            bars.add(new BarChart.Bar(stage, value, Numbers.duration(value), false));
            rows.add(List.of(stage, Numbers.format("%.2f", value), share));
          }
        });
    if (bars.isEmpty()) {
      return;
    }
    int stages = rows.size();
    rows.add(List.of("total", Numbers.format("%.2f", total), total > 0 ? "100.0" : Numbers.NONE));
    section(
        out,
        "time",
        "Where the time went",
        () -> {
          String description =
              Numbers.format("%s in all, in %d stages.", Numbers.duration(total), stages);
          Picture.figure(
              out,
              "time-figure",
              BarChart.of("Time of each stage", description, bars),
              description);
          DataTable.of("Time of each stage", List.of("stage", "seconds", "share, %"), rows)
              .withMarked(List.of(stages))
              .write(out);
        });
  }

  static double total(Map<String, Double> seconds) {
    return seconds.values().stream()
        .mapToDouble(Double::doubleValue)
        .filter(value -> Double.isFinite(value) && value >= 0)
        .sum();
  }

  /**
   * The command, the settings and the versions.
   *
   * @param settings names and values
   */
  static void provenance(Markup out, Map<String, String> settings, Provenance provenance) {
    section(
        out,
        "again",
        "To do it again",
        () -> {
          if (!provenance.commandLine().isEmpty()) {
            out.leaf("h3", "Command");
            out.open(
                "pre",
                "class",
                "command",
                "tabindex",
                "0",
                "role",
                "region",
                "aria-label",
                "Command");
            out.leaf("code", command(provenance.commandLine())).close();
          }
          out.open("div", "class", "pair");
          Map<String, String> all = new LinkedHashMap<>(settings);
          flatten("", provenance.toJson().path("inputs"), all);
          pairs(out, "Settings", "setting", all);
          pairs(out, "Versions", "of", provenance.versions());
          out.close();
        });
  }

  private static void pairs(Markup out, String heading, String name, Map<String, String> values) {
    if (values.isEmpty()) {
      return;
    }
    out.open("div");
    out.leaf("h3", heading);
    List<List<String>> rows = new ArrayList<>();
    values.forEach((key, value) -> rows.add(List.of(key, value)));
    out.open("table", "class", "pairs");
    out.leaf("caption", heading, "class", "spoken");
    out.open("thead", "class", "spoken").open("tr");
    out.leaf("th", name, "scope", "col").leaf("th", "value", "scope", "col");
    out.close().close().open("tbody");
    for (List<String> row : rows) {
      out.open("tr").leaf("th", row.get(0), "scope", "row").leaf("td", row.get(1)).close();
    }
    out.close().close().close();
  }

  /** The page, with all of its data. */
  static String end(Markup out, ObjectNode data, Provenance provenance) {
    data.set("provenance", provenance.toJson());
    out.close();
    out.open("footer");
    out.leaf(
        "p",
        "Written by owl-spark. This page needs no network; the same data for machines are in its"
            + " element “owl-data”.");
    out.close();
    out.open("script", "type", "application/json", "id", "owl-data");
    out.verbatim(json(data)).close();
    return out.close().close().document();
  }

  /** As JSON that no parser of HTML or XML can take for anything but text. */
  private static String json(ObjectNode data) {
    removeNonFinite(data);
    try {
      return new JsonMapper()
          .writer()
          .with(JsonWriteFeature.ESCAPE_NON_ASCII)
          .writeValueAsString(data)
          .replace("<", "\\u003c")
          .replace(">", "\\u003e")
          .replace("&", "\\u0026");
    } catch (JsonProcessingException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void removeNonFinite(JsonNode node) {
    if (node instanceof ObjectNode object) {
      Iterator<Map.Entry<String, JsonNode>> fields = object.fields();
      while (fields.hasNext()) {
        Map.Entry<String, JsonNode> field = fields.next();
        if (nonFinite(field.getValue())) {
          field.setValue(object.nullNode());
        } else {
          removeNonFinite(field.getValue());
        }
      }
    } else if (node instanceof ArrayNode array) {
      for (int i = 0; i < array.size(); i++) {
        if (nonFinite(array.get(i))) {
          array.setNull(i);
        } else {
          removeNonFinite(array.get(i));
        }
      }
    }
  }

  private static boolean nonFinite(JsonNode node) {
    return node.isDouble() && !Double.isFinite(node.doubleValue());
  }

  /** Adds the leaves of some JSON to settings, named by their paths. */
  static void flatten(String path, JsonNode node, Map<String, String> settings) {
    if (node.isObject()) {
      node.fields()
          .forEachRemaining(
              field ->
                  flatten(
                      path.isEmpty() ? field.getKey() : path + "." + field.getKey(),
                      field.getValue(),
                      settings));
    } else if (node.isArray()) {
      List<String> values = new ArrayList<>();
      node.forEach(value -> values.add(value.asText()));
      settings.put(path, String.join(", ", values));
    } else if (!node.isNull()) {
      settings.put(path, node.asText());
    }
  }

  /** A command as a shell takes it, each option on a line of its own if it is long. */
  static String command(List<String> words) {
    int length = words.stream().mapToInt(word -> word.length() + 1).sum();
    StringBuilder text = new StringBuilder();
    for (String word : words) {
      if (!text.isEmpty()) {
        text.append(length > 90 && word.startsWith("--") ? " \\\n    " : " ");
      }
      text.append(
          PLAIN_WORD.matcher(word).matches() ? word : "'" + word.replace("'", "'\\''") + "'");
    }
    return text.toString();
  }

  /** The last part of a location; the last two if the last says no more than that it is a model. */
  static String name(String location) {
    String trimmed = location.strip();
    while (trimmed.length() > 1 && (trimmed.endsWith("/") || trimmed.endsWith("\\"))) {
      trimmed = trimmed.substring(0, trimmed.length() - 1);
    }
    int slash = slash(trimmed, trimmed.length() - 1);
    if (trimmed.substring(slash + 1).equals("model") && slash > 0) {
      slash = slash(trimmed, slash - 1);
    }
    return trimmed.substring(slash + 1).isEmpty() ? location : trimmed.substring(slash + 1);
  }

  private static int slash(String location, int from) {
    return Math.max(location.lastIndexOf('/', from), location.lastIndexOf('\\', from));
  }

  private static String style() {
    try (InputStream in = Page.class.getResourceAsStream("report.css")) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
