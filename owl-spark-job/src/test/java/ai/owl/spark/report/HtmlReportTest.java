package ai.owl.spark.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.Owl;
import ai.owl.allocation.Uniform;
import ai.owl.evaluation.Perplexity;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.xpath.XPath;
import javax.xml.xpath.XPathConstants;
import javax.xml.xpath.XPathFactory;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

class HtmlReportTest {
  private static final XPath XPATH = XPathFactory.newInstance().newXPath();
  private static final String HOSTILE =
      "</script></title><script>alert(1)</script>\"'&amp;--> ]]> \u202e\u0000\ud800 λ🦉";

  static List<Named<String>> named() {
    List<Named<String>> named = new ArrayList<>();
    for (String page : pages()) {
      named.add(Named.of("page " + named.size(), page));
    }
    return named;
  }

  private static List<String> pages() {
    List<String> pages = new ArrayList<>();
    for (int blocks : new int[] {1, 2, 8, 32, 80, 126}) {
      pages.add(HtmlReport.of(ReportExamples.prune(blocks), ReportExamples.provenance()));
    }
    pages.add(HtmlReport.of(uniform(), new Provenance(List.of(), Map.of())));
    pages.add(HtmlReport.of(ReportExamples.sweep(), ReportExamples.provenance()));
    pages.add(HtmlReport.of(ReportExamples.bigSweep(), ReportExamples.provenance()));
    pages.add(
        HtmlReport.of(
            ReportExamples.demo(), ReportExamples.samples(), ReportExamples.provenance()));
    pages.add(HtmlReport.of(hostile(), hostileProvenance()));
    pages.add(
        HtmlReport.of(hostileSweep(), List.of(new Sample(HOSTILE, HOSTILE)), hostileProvenance()));
    pages.add(HtmlReport.of(broken(), ReportExamples.provenance()));
    pages.add(HtmlReport.of(brokenSweep(), ReportExamples.provenance()));
    pages.add(HtmlReport.of(emptySweep(), ReportExamples.provenance()));
    return pages;
  }

  @ParameterizedTest
  @MethodSource("named")
  void isWellFormedAndNeedsNothingElse(String page) throws Exception {
    Document document = parse(page);
    assertThat(page).startsWith("<!DOCTYPE html>\n<html lang=\"en\">");
    assertThat(document.getElementsByTagName("title").item(0).getTextContent()).isNotBlank();
    assertThat(all(document, "//@src | //@href | //link | //image | //iframe | //style[2]"))
        .isEmpty();
    assertThat(all(document, "//script")).hasSize(1);
    assertThat(all(document, "//@*[starts-with(name(), 'on')]")).isEmpty();
    String style = all(document, "//style").get(0).getTextContent();
    assertThat(style).doesNotContain("url(").doesNotContain("@import");
  }

  @ParameterizedTest
  @MethodSource("named")
  void canBeReadWithoutEyes(String page) throws Exception {
    Document document = parse(page);
    Set<String> ids = new HashSet<>();
    for (Node id : all(document, "//@id")) {
      assertThat(ids.add(id.getNodeValue())).as("id %s", id.getNodeValue()).isTrue();
    }
    for (Node names : all(document, "//@aria-labelledby")) {
      assertThat(ids).contains(names.getNodeValue().split(" "));
    }
    assertThat(all(document, "/html/body/header | /html/body/main | /html/body/footer")).hasSize(3);
    assertThat(all(document, "//svg[not(@role='img' and title and desc) and not(@aria-hidden)]"))
        .isEmpty();
    assertThat(all(document, "//section[not(@aria-labelledby)]")).isEmpty();
    assertThat(all(document, "//th[not(@scope)] | //table[not(caption)]")).isEmpty();
    assertThat(all(document, "//th[not(normalize-space())] | //h1[2]")).isEmpty();
    int level = 0;
    for (Node heading : all(document, "//h1 | //h2 | //h3 | //h4")) {
      int next = heading.getNodeName().charAt(1) - '0';
      assertThat(next).as(heading.getTextContent()).isBetween(1, level + 1);
      level = next;
    }
    for (Node figure : all(document, "//figure")) {
      assertThat(all(figure, "..//table")).as("a table under each picture").isNotEmpty();
    }
  }

  @ParameterizedTest
  @MethodSource("named")
  void holdsNoNumberThatIsNone(String page) {
    assertThat(page).doesNotContain("NaN").doesNotContain("Infinity").doesNotContain("null,null");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8, 32, 80})
  void barsAndLineHoldTheBlocks(int blocks) throws Exception {
    PruneReport report = ReportExamples.prune(blocks);
    Document document = parse(HtmlReport.of(report, ReportExamples.provenance()));
    for (String kind : List.of("wide", "narrow")) {
      Node picture = one(document, "//figure[@id='blocks-figure']/svg[@class='" + kind + "']");
      List<Node> bars = all(picture, "rect[@class='bar']");
      List<Node> marks = all(picture, "circle");
      assertThat(bars).hasSize(blocks);
      assertThat(marks).hasSize(blocks);
      double scale = number(bars.get(0), "height") / ratio(report, 0);
      for (int i = 0; i < blocks; i++) {
        assertThat(number(bars.get(i), "height")).isCloseTo(scale * ratio(report, i), within(0.02));
        double center = number(bars.get(i), "x") + number(bars.get(i), "width") / 2;
        assertThat(number(marks.get(i), "cx")).isCloseTo(center, within(0.02));
      }
      if (blocks > 1) {
        double slope =
            (number(marks.get(1), "cy") - number(marks.get(0), "cy"))
                / (report.blocks().get(1).sparsity() - report.blocks().get(0).sparsity());
        assertThat(slope).isNegative();
        double reference = number(one(picture, "line[@class='reference']"), "y1");
        for (int i = 0; i < blocks; i++) {
          double above = report.blocks().get(i).sparsity() - 0.7;
          double y = number(marks.get(i), "cy");
          assertThat(Math.signum(Math.rint(reference - y))).isIn(Math.signum(above), 0.0, -0.0);
        }
      }
      if (kind.equals("wide")) {
        assertThat(bars.get(blocks - 1).getTextContent())
            .startsWith("block " + (blocks - 1) + ": outlier ratio ")
            .contains(Numbers.ratio(ratio(report, blocks - 1)));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8, 32, 80, 126})
  void labelsDoNotOverlap(int blocks) throws Exception {
    Document document =
        parse(HtmlReport.of(ReportExamples.prune(blocks), ReportExamples.provenance()));
    for (Node picture : all(document, "//svg[@role='img']")) {
      Map<String, Double> end = new LinkedHashMap<>();
      for (Node label : all(picture, "text[contains(@class, 'mid') and not(@transform)]")) {
        double half = Picture.width(label.getTextContent()) / 2;
        double x = number(label, "x");
        String y = label.getAttributes().getNamedItem("y").getNodeValue();
        assertThat(x - half)
            .as("%s in %s", label.getTextContent(), picture.getTextContent().strip())
            .isGreaterThanOrEqualTo(end.getOrDefault(y, -4.0));
        end.put(y, x + half);
      }
    }
  }

  @Test
  void heatMapHoldsEveryLinear() throws Exception {
    PruneReport report = ReportExamples.prune(32);
    Document document = parse(HtmlReport.of(report, ReportExamples.provenance()));
    List<Node> cells = all(document, "//figure[@id='linears-figure']/svg[1]/rect[@class='cell']");
    assertThat(cells).hasSize(32 * 7);
    PrunedLinear down = report.blocks().get(31).linears().get(6);
    assertThat(cells.get(7 * 32 - 1).getTextContent().strip())
        .isEqualTo(
            "block 31, down_proj: "
                + Numbers.points((double) down.zeros() / down.weights())
                + " %");
    assertThat(texts(document, "//section[@id='linears']//thead//th"))
        .containsExactly(
            "block", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj");
    assertThat(all(document, "//section[@id='linears']//tbody/tr")).hasSize(32);
  }

  @Test
  void tableHoldsTheBlocksAndTheirSum() throws Exception {
    Document document = parse(HtmlReport.of(ReportExamples.prune(8), ReportExamples.provenance()));
    assertThat(all(document, "//section[@id='blocks']//tbody/tr")).hasSize(9);
    assertThat(texts(document, "//section[@id='blocks']//tbody/tr[9]/*"))
        .startsWith("all", "–", "70.000")
        .endsWith("1,619,001,344");
    // Eight rows are short enough to lie open; eighty are not.
    assertThat(all(document, "//details")).isEmpty();
    Document long80 = parse(HtmlReport.of(ReportExamples.prune(80), ReportExamples.provenance()));
    assertThat(all(long80, "//details[summary]//table")).hasSize(2);
  }

  @Test
  void headlineAnswersInWordsAndNumbers() throws Exception {
    Document document = parse(HtmlReport.of(ReportExamples.prune(32), ReportExamples.provenance()));
    assertThat(one(document, "//h1").getTextContent()).isEqualTo("llama-7b, pruned to 70\u00a0%");
    assertThat(one(document, "//p[@class='lead']").getTextContent())
        .isEqualTo(
            "Pruning by wanda with allocation owl M=5 λ=0.08 removed 69.99\u00a0% of the weights"
                + " of 32 decoder blocks. Perplexity rose to 4.32\u00a0× the dense one, from 5.680"
                + " to 24.55.");
    assertThat(texts(document, "//dd[@class='number']"))
        .containsExactly("5.680 → to24.55", "69.99\u00a0%", "4.53 G", Numbers.duration(6272.6));
  }

  @Test
  void whatWasNotMeasuredIsSaidAndNotDrawn() throws Exception {
    Document document = parse(HtmlReport.of(uniform(), new Provenance(List.of(), Map.of())));
    assertThat(one(document, "//p[@class='lead']").getTextContent())
        .contains("was not measured: --evaluate");
    assertThat(all(document, "//figure[@id='blocks-figure']//rect")).isEmpty();
    assertThat(one(document, "//figure[@id='blocks-figure']/figcaption").getTextContent())
        .contains("Outlier ratios were not counted");
    assertThat(texts(document, "//section[@id='blocks']//tbody/tr[1]/*"))
        .startsWith("0", "–", "70.000");
    assertThat(all(document, "//section[@id='time']")).isEmpty();
    assertThat(all(document, "//section[@id='warnings']")).isEmpty();
  }

  @Test
  void timesAreDrawnInProportion() throws Exception {
    Document document = parse(HtmlReport.of(ReportExamples.prune(8), ReportExamples.provenance()));
    List<Node> bars = all(document, "//figure[@id='time-figure']/svg[1]/rect");
    assertThat(bars).hasSize(6);
    assertThat(number(bars.get(3), "width") / number(bars.get(0), "width"))
        .isCloseTo(2961.5 / 1284.2, within(0.001));
    assertThat(texts(document, "//section[@id='time']//tbody/tr[7]/*"))
        .containsExactly("total", "6272.61", "100.0");
  }

  @Test
  void warnsOfAnExplodedPerplexityAndAMissedSparsity() throws Exception {
    PruneReport report = ReportExamples.prune("m", 2, new Uniform(), Optional.of(56.81), Map.of());
    List<PruneReport.Block> blocks = new ArrayList<>();
    for (PruneReport.Block block : report.blocks()) {
      blocks.add(
          new PruneReport.Block(
              block.profile(),
              0.7,
              List.of(new PrunedLinear("model.layers.0.mlp.up_proj", 0.7, 1000, 702))));
    }
    report = with(report, blocks, List.of("it is late"));
    assertThat(texts(parse(page(report)), "//section[@id='warnings']/ul/li"))
        .containsExactly(
            "Perplexity exploded from 5.680 to 56.81: such a model is of no use; try a lower"
                + " sparsity, another metric or another allocation",
            "70.00 % was asked for, 70.20 % was reached",
            "It is late");
    PruneReport fine = ReportExamples.prune("m", 2, new Uniform(), Optional.of(56.79), Map.of());
    assertThat(all(parse(page(fine)), "//section[@id='warnings']")).isEmpty();
  }

  @Test
  void warnsOfExplodedRows() throws Exception {
    Document document = parse(page(ReportExamples.sweep()));
    List<String> details = texts(document, "//section[@id='warnings']//ul/li//ul/li");
    assertThat(details).hasSize(11).contains("magnitude uniform at 70\u00a0%: 2,021");
  }

  @Test
  void warnsOfRowsThatMissedTheSparsityAndOfAllocationsThatAreNotCentred() throws Exception {
    SweepReport demo = ReportExamples.demo();
    List<SweepReport.Row> rows = new ArrayList<>(demo.rows());
    SweepReport.Row first = rows.get(0);
    rows.set(
        0, new SweepReport.Row(first.options().withSparsity(0.69), first.blocks(), first.pruned()));
    List<String> notes = List.of("sparsities lie in [0.62, 0.78]");
    SweepReport off =
        new SweepReport(
            demo.model(), demo.architecture(), 1, 1, demo.dense(), rows, Map.of(), notes);
    List<String> warnings = texts(parse(page(off)), "//section[@id='warnings']/ul/li");
    assertThat(warnings.get(warnings.size() - 2))
        .startsWith("1 of 4 rows missed the asked sparsity by more than 0.1 percentage points")
        .contains("magnitude uniform at 69\u00a0%: reached 69.938\u00a0%");
    assertThat(warnings.get(warnings.size() - 1)).isEqualTo("Sparsities lie in [0.62, 0.78]");
  }

  @Test
  void curvesHoldEveryRowOnALogarithmicAxis() throws Exception {
    SweepReport sweep = ReportExamples.sweep();
    Document document = parse(page(sweep));
    Node picture = one(document, "//figure[@id='perplexity-figure']/svg[@class='wide']");
    List<Node> curves = all(picture, "polyline");
    assertThat(curves).hasSize(6);
    assertThat(all(picture, "path[title]")).hasSize(30);
    // Exact: y is affine in the logarithm of the perplexity, for all thirty points alike.
    List<double[]> points = new ArrayList<>();
    for (Node curve : curves) {
      String method = one(curve, "title").getTextContent();
      String[] places = attribute(curve, "points").split(" ");
      List<SweepReport.Row> rows =
          sweep.rows().stream()
              .filter(row -> row.label().replace(" sequential", "").equals(method))
              .toList();
      assertThat(places).hasSize(5);
      assertThat(rows).hasSize(5);
      for (int i = 0; i < 5; i++) {
        double y = Double.parseDouble(places[i].split(",")[1]);
        points.add(new double[] {Math.log(rows.get(i).pruned().value()), y});
      }
    }
    points.sort(Comparator.comparingDouble(point -> point[0]));
    double[] first = points.get(0);
    double[] last = points.get(29);
    double slope = (last[1] - first[1]) / (last[0] - first[0]);
    for (double[] point : points) {
      assertThat(point[1]).isCloseTo(first[1] + slope * (point[0] - first[0]), within(0.05));
    }
    double dense = number(one(picture, "line[@class='reference'][@x2 > 400][@x1 < 100]"), "y1");
    assertThat(dense).isCloseTo(first[1] + slope * (Math.log(5.68) - first[0]), within(0.05));
  }

  @Test
  void methodsAreToldApartByMoreThanHue() throws Exception {
    Document document = parse(page(ReportExamples.sweep()));
    List<Node> curves =
        all(document, "//figure[@id='perplexity-figure']/svg[@class='wide']/polyline/@class");
    assertThat(curves.stream().map(Node::getNodeValue)).doesNotHaveDuplicates().hasSize(6);
    List<SweepReport.Row> eight =
        ReportExamples.bigSweep().rows().stream()
            .filter(row -> row.options().pruner().name().equals("wanda"))
            .filter(row -> !(row.options().allocator() instanceof Owl owl) || owl.threshold() < 7)
            .filter(row -> !row.options().allocator().equals(new Owl(5, 0.1)))
            .toList();
    Document single = parse(page(with(ReportExamples.bigSweep(), eight)));
    curves = all(single, "//figure[@id='perplexity-figure']/svg[@class='wide']/polyline/@class");
    assertThat(curves.stream().map(Node::getNodeValue)).doesNotHaveDuplicates().hasSize(8);
    // The legend for narrow screens names them all, and the dense model.
    assertThat(texts(document, "//ul[@class='legend narrow']/li"))
        .hasSize(7)
        .contains("wanda owl M=5 λ=0.08", "dense 5.680");
  }

  @Test
  void namesTheBestAtEachSparsity() throws Exception {
    SweepReport sweep = ReportExamples.sweep();
    Document document = parse(page(sweep));
    List<Node> rows = all(document, "//section[@id='best']//tbody/tr");
    assertThat(rows).hasSize(5);
    assertThat(texts(rows.get(3), "*"))
        .startsWith("70\u00a0%", "wanda owl M=5 λ=0.08")
        .contains(Numbers.precise(sweep.best(0.7).orElseThrow().pruned().value()));
    assertThat(all(document, "//section[@id='perplexity']//td[starts-with(., '★')]")).hasSize(5);
    assertThat(one(document, "//p[@class='lead']").getTextContent())
        .startsWith(
            "Perplexity stays within 10 times the dense one up to 70\u00a0% sparsity, best with"
                + " wanda owl M=5 λ=0.08: 26.77")
        .contains("owl is better than uniform in 10 of 10 comparisons");
  }

  @Test
  void manyMethodsStayLegible() throws Exception {
    Document document = parse(page(ReportExamples.bigSweep()));
    Node picture = one(document, "//figure[@id='perplexity-figure']/svg[@class='wide']");
    assertThat(all(picture, "polyline")).hasSize(34);
    assertThat(all(picture, "polyline[@class='curve other']")).hasSize(30);
    assertThat(texts(picture, "text[@class='direct']"))
        .containsExactlyInAnyOrder(
            "dense 5.680",
            "magnitude uniform",
            "magnitude owl M=5 λ=0.08",
            "wanda uniform",
            "wanda owl M=5 λ=0.08");
    SweepReport below = ReportExamples.sweep();
    List<SweepReport.Row> better = new ArrayList<>();
    for (SweepReport.Row row : below.rows()) {
      Perplexity value = new Perplexity(row.pruned().value() / 300, 1, 2);
      better.add(new SweepReport.Row(row.options(), row.blocks(), value));
    }
    below = with(below, better);
    for (SweepReport sweep : List.of(ReportExamples.sweep(), ReportExamples.bigSweep(), below)) {
      picture = one(parse(page(sweep)), "//figure[@id='perplexity-figure']/svg[@class='wide']");
      List<Double> places = new ArrayList<>();
      for (Node label : all(picture, "text[@class='direct']")) {
        places.add(number(label, "y"));
        assertThat(number(label, "x") + Picture.width(label.getTextContent()))
            .isLessThanOrEqualTo(Picture.WIDE);
      }
      places.sort(null);
      for (int i = 1; i < places.size(); i++) {
        assertThat(places.get(i) - places.get(i - 1)).isGreaterThan(17);
      }
    }
  }

  @Test
  void oneSparsityIsDrawnAsSortedBars() throws Exception {
    Document document =
        parse(
            HtmlReport.of(
                ReportExamples.demo(), ReportExamples.samples(), ReportExamples.provenance()));
    List<Node> bars = all(document, "//figure[@id='perplexity-figure']/svg[1]/rect");
    assertThat(bars).hasSize(4);
    assertThat(bars.stream().map(bar -> number(bar, "width"))).isSorted();
    assertThat(bars.get(0).getTextContent().strip())
        .isEqualTo("wanda owl M=5 λ=0.08: 16.08 (best)");
    assertThat(attribute(bars.get(0), "class")).isEqualTo("bar best");
    assertThat(texts(document, "//section[@id='uniform']//tbody/tr[2]/*"))
        .containsExactly("wanda", "46.95", "16.08", "owl M=5 λ=0.08", "−65.7\u00a0%");
    assertThat(texts(document, "//section[@id='samples']//h3"))
        .containsExactly(
            "dense",
            "magnitude uniform",
            "magnitude owl M=5 λ=0.08",
            "wanda uniform",
            "wanda owl M=5 λ=0.08");
    assertThat(texts(document, "//section[@id='samples']//article[5]/p"))
        .containsExactly("perplexity 16.08");
    assertThat(one(document, "//section[@id='samples']//article[2]//blockquote").getTextContent())
        .contains("He her kite\nthe a red");
  }

  @Test
  void propagationIsNamedOnlyWhereItDiffers() throws Exception {
    SweepReport sweep = ReportExamples.demo();
    List<SweepReport.Row> rows = new ArrayList<>(sweep.rows());
    SweepReport.Row last = rows.get(3);
    rows.add(
        new SweepReport.Row(
            last.options().withPropagation(Propagation.DENSE), last.blocks(), last.pruned()));
    assertThat(texts(parse(page(with(sweep, rows))), "//section[@id='perplexity']//tbody/tr/th"))
        .contains(
            "magnitude uniform",
            "wanda (sequential) owl M=5 λ=0.08",
            "wanda (dense) owl M=5 λ=0.08");
  }

  @Test
  void embedsTheDataWhateverTheNames() throws Exception {
    for (JsonNode expected : List.of(ReportExamples.prune(8).toJson(), hostile().toJson())) {
      boolean plain = expected.path("options").path("model").asText().contains("llama");
      String page = plain ? page(ReportExamples.prune(8)) : page(hostile());
      String text = one(parse(page), "//script[@id='owl-data']").getTextContent();
      assertThat(text).doesNotContain("<").doesNotContain(">").doesNotContain("&");
      JsonNode data = new JsonMapper().readTree(text);
      expected
          .fieldNames()
          .forEachRemaining(
              field -> assertThat(data.get(field)).isEqualTo(reread(expected.get(field))));
      assertThat(data.path("provenance").path("versions").path("Spark").asText())
          .isEqualTo("4.0.1");
    }
    JsonNode demo =
        new JsonMapper()
            .readTree(
                one(
                        parse(
                            HtmlReport.of(
                                ReportExamples.demo(),
                                ReportExamples.samples(),
                                ReportExamples.provenance())),
                        "//script")
                    .getTextContent());
    assertThat(demo.path("samples")).hasSize(5);
    assertThat(demo.path("rows")).hasSize(4);
  }

  @Test
  void hostileNamesStayText() throws Exception {
    for (String page : List.of(page(hostile()), page(hostileSweep()))) {
      assertThat(page.split("<script", -1)).hasSize(2);
      assertThat(page.split("</script", -1)).hasSize(2);
      assertThat(page).doesNotContain("<script>").doesNotContain("\u0000");
      assertThat(one(parse(page), "//h1").getTextContent()).contains("script>\"'&amp;--> ]]>");
    }
  }

  @Test
  void numbersThatAreNoneAreDashes() throws Exception {
    Document document = parse(page(broken()));
    assertThat(texts(document, "//dd[@class='number']")).contains("5.680 → to–", "–");
    assertThat(texts(document, "//section[@id='warnings']/ul/li"))
        .contains("The pruned perplexity is not a finite number");
    Document sweep = parse(page(brokenSweep()));
    assertThat(texts(sweep, "//section[@id='warnings']//li/ul/li"))
        .contains("wanda owl M=5 λ=0.08 at 70\u00a0%: no finite perplexity");
    assertThat(all(sweep, "//figure[@id='perplexity-figure']/svg[1]/rect")).hasSize(3);
    assertThat(one(parse(page(emptySweep())), "//p[@class='lead']").getTextContent())
        .isEqualTo("No row has a finite perplexity.");
  }

  @Test
  void extremePerplexitiesCanBeDrawn() throws Exception {
    SweepReport sweep = ReportExamples.sweep();
    for (double extreme : new double[] {5e-324, 1e-9, 1, 5.68, 1e17, Double.MAX_VALUE}) {
      for (int from : new int[] {0, 29}) {
        List<SweepReport.Row> rows = new ArrayList<>(sweep.rows());
        for (int i = from; i < rows.size(); i++) {
          rows.set(
              i,
              new SweepReport.Row(
                  rows.get(i).options(), rows.get(i).blocks(), new Perplexity(extreme, 1, 2)));
        }
        parse(page(with(sweep, rows)));
        parse(page(with(sweep, rows.subList(24, 30))));
      }
    }
  }

  @Test
  void sameInputSameBytesInAnyLocale() {
    List<String> before = pages();
    Locale locale = Locale.getDefault();
    try {
      for (String tag : List.of("de-DE", "ar-EG-u-nu-arab", "hi-IN-u-nu-deva", "tr-TR")) {
        Locale.setDefault(Locale.forLanguageTag(tag));
        assertThat(pages()).isEqualTo(before);
      }
    } finally {
      Locale.setDefault(locale);
    }
  }

  @Test
  void commandCanBePastedIntoAShell() {
    assertThat(Page.command(List.of("owl", "generate", "--prompt", "it's a $HOME", "")))
        .isEqualTo("owl generate --prompt 'it'\\''s a $HOME' ''");
    assertThat(Page.command(ReportExamples.provenance().commandLine()))
        .startsWith("submit/owl prune \\\n    --model hdfs:///models/llama-7b \\\n")
        .contains("--calibration 'hdfs:///data/c4 train.00000-of-01024.json.gz' \\\n");
  }

  @Test
  void namesAModelByMoreThanTheWordModel() {
    assertThat(Page.name("hdfs:///models/llama-7b/")).isEqualTo("llama-7b");
    assertThat(Page.name("owl-demo/model")).isEqualTo("owl-demo/model");
    assertThat(Page.name("/a/b/model/")).isEqualTo("b/model");
    assertThat(Page.name("/model")).isEqualTo("model");
    assertThat(Page.name("model")).isEqualTo("model");
    assertThat(Page.name("/")).isEqualTo("/");
  }

  @Test
  void settingsOfAGridAreItsValues() throws Exception {
    Document document = parse(page(ReportExamples.bigSweep()));
    assertThat(texts(document, "//section[@id='again']//tr[th='lambda']/td"))
        .containsExactly("0.02, 0.05, 0.08, 0.1");
    assertThat(texts(document, "//section[@id='again']//tr[th='Java']/td"))
        .containsExactly("17.0.12 (Eclipse Adoptium)");
  }

  private static PruneReport uniform() {
    return ReportExamples.prune("/models/llama-7b", 32, new Uniform(), Optional.empty(), Map.of());
  }

  private static PruneReport hostile() {
    LayerProfile profile = new LayerProfile(0, 10, new TreeMap<>());
    Map<String, Double> seconds = new LinkedHashMap<>();
    seconds.put(HOSTILE, 1.5);
    List<PrunedLinear> linears =
        List.of(
            new PrunedLinear("model.layers.0." + HOSTILE, 0.7, 10, 7),
            new PrunedLinear("...", 0.7, 10, 7),
            new PrunedLinear("fc1", 0.7, 10, 7));
    return new PruneReport(
        PruneOptions.defaults("/models/" + HOSTILE, HOSTILE).withAllocator(new Uniform()),
        HOSTILE,
        HOSTILE,
        1,
        1,
        List.of(new PruneReport.Block(profile, 0.7, linears)),
        Optional.of(ReportExamples.DENSE),
        Optional.of(ReportExamples.DENSE),
        seconds,
        List.of(HOSTILE, ""));
  }

  private static SweepReport hostileSweep() {
    SweepReport sweep = ReportExamples.demo();
    return new SweepReport(
        HOSTILE, HOSTILE, 1, 1, sweep.dense(), sweep.rows(), Map.of(), List.of(HOSTILE));
  }

  private static Provenance hostileProvenance() {
    return new Provenance(List.of("owl", HOSTILE), Map.of(HOSTILE, HOSTILE));
  }

  /** Nothing that it holds is a number. */
  private static PruneReport broken() {
    TreeMap<Double, Long> outliers = new TreeMap<>(Map.of(5.0, 0L));
    PruneReport.Block empty =
        new PruneReport.Block(
            new LayerProfile(0, 0, outliers),
            0.7,
            List.of(new PrunedLinear("model.layers.0.mlp.up_proj", 0.7, 0, 0)));
    PruneReport.Block bare =
        new PruneReport.Block(new LayerProfile(1, 0, outliers), 0.7, List.of());
    Map<String, Double> seconds = new LinkedHashMap<>();
    seconds.put("calibrate", Double.NaN);
    seconds.put("prune", 0.0);
    return new PruneReport(
        PruneOptions.defaults("m", "o"),
        "f",
        "a",
        0,
        0,
        List.of(empty, bare),
        Optional.of(ReportExamples.DENSE),
        Optional.of(new Perplexity(Double.NaN, 1, 2)),
        seconds,
        List.of());
  }

  private static SweepReport brokenSweep() {
    SweepReport sweep = ReportExamples.demo();
    List<SweepReport.Row> rows = new ArrayList<>();
    for (SweepReport.Row row : sweep.rows()) {
      boolean best = row.options().pruner().name().equals("wanda");
      double value =
          best && row.options().allocator() instanceof Owl
              ? Double.POSITIVE_INFINITY
              : row.pruned().value();
      rows.add(new SweepReport.Row(row.options(), row.blocks(), new Perplexity(value, 1, 2)));
    }
    return with(sweep, rows);
  }

  private static SweepReport emptySweep() {
    SweepReport.Row row =
        new SweepReport.Row(
            PruneOptions.defaults("m", "o").withPruner(new MetricPruner(new Magnitude())),
            List.of(),
            new Perplexity(Double.NaN, 1, 2));
    return with(ReportExamples.demo(), List.of(row));
  }

  private static SweepReport with(SweepReport sweep, List<SweepReport.Row> rows) {
    return new SweepReport(
        sweep.model(),
        sweep.architecture(),
        sweep.sequences(),
        sweep.tokens(),
        sweep.dense(),
        rows,
        sweep.seconds(),
        sweep.warnings());
  }

  private static PruneReport with(
      PruneReport report, List<PruneReport.Block> blocks, List<String> warnings) {
    return new PruneReport(
        report.options(),
        report.fingerprint(),
        report.architecture(),
        report.sequences(),
        report.tokens(),
        blocks,
        report.dense(),
        report.pruned(),
        report.seconds(),
        warnings);
  }

  private static String page(PruneReport report) {
    return HtmlReport.of(report, ReportExamples.provenance());
  }

  private static String page(SweepReport sweep) {
    return HtmlReport.of(sweep, ReportExamples.provenance());
  }

  private static double ratio(PruneReport report, int block) {
    return report.outlierRatio(report.blocks().get(block)).orElseThrow();
  }

  private static JsonNode reread(JsonNode node) {
    try {
      return new JsonMapper().readTree(node.toString());
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  private static Document parse(String page) throws Exception {
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new InputSource(new StringReader(page)));
  }

  private static List<Node> all(Node node, String path) throws Exception {
    NodeList found = (NodeList) XPATH.evaluate(path, node, XPathConstants.NODESET);
    List<Node> nodes = new ArrayList<>();
    for (int i = 0; i < found.getLength(); i++) {
      nodes.add(found.item(i));
    }
    return nodes;
  }

  private static Node one(Node node, String path) throws Exception {
    List<Node> found = all(node, path);
    assertThat(found).as(path).hasSize(1);
    return found.get(0);
  }

  private static List<String> texts(Node node, String path) throws Exception {
    return all(node, path).stream().map(found -> found.getTextContent().strip()).toList();
  }

  private static String attribute(Node node, String name) {
    return ((Element) node).getAttribute(name);
  }

  private static double number(Node node, String name) {
    return Double.parseDouble(attribute(node, name));
  }
}
