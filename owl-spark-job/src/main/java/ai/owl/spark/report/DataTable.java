package ai.owl.spark.report;

import java.util.List;

/**
 * The numbers of a picture.
 *
 * @param columns heads; the first is of the rows' names
 * @param rows as many cells as columns
 * @param words which columns, besides the first, hold words rather than numbers
 * @param marked which rows stand out, such as totals
 */
record DataTable(
    String caption,
    List<String> columns,
    List<List<String>> rows,
    List<Integer> words,
    List<Integer> marked) {
  /** Longer ones are folded away. */
  private static final int LONG = 12;

  /** One of numbers, in which no row stands out. */
  static DataTable of(String caption, List<String> columns, List<List<String>> rows) {
    return new DataTable(caption, columns, rows, List.of(), List.of());
  }

  DataTable withWords(Integer... numbers) {
    return new DataTable(caption, columns, rows, List.of(numbers), marked);
  }

  DataTable withMarked(List<Integer> numbers) {
    return new DataTable(caption, columns, rows, words, numbers);
  }

  /** Writes it, folded away if long. */
  void write(Markup out) {
    boolean folded = rows.size() > LONG;
    if (folded) {
      out.open("details");
      out.leaf("summary", "Table: " + caption + " (" + rows.size() + " rows)");
    }
    // What may scroll must be reachable by keyboard, and say what it is.
    out.open("div", "class", "scroll", "role", "region", "tabindex", "0", "aria-label", caption);
    out.open("table");
    out.leaf("caption", caption);
    out.open("thead").open("tr");
    for (int i = 0; i < columns.size(); i++) {
      out.leaf("th", columns.get(i), "scope", "col", "class", kind(i));
    }
    out.close().close();
    out.open("tbody");
    for (int i = 0; i < rows.size(); i++) {
      out.open("tr", "class", marked.contains(i) ? "marked" : "plain");
      List<String> cells = rows.get(i);
      out.leaf("th", cells.get(0), "scope", "row", "class", kind(0));
      for (int j = 1; j < cells.size(); j++) {
        out.leaf("td", cells.get(j), "class", kind(j));
      }
      out.close();
    }
    out.close().close().close();
    if (folded) {
      out.close();
    }
  }

  private String kind(int column) {
    return column == 0 || words.contains(column) ? "words" : "number";
  }
}
