package ai.owl;

import static java.util.stream.Collectors.toCollection;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Who may know whom. Reads the sources, so it sees every use outside of comments. */
class PackageDirectionTest {
  /** Each package under ai.owl, and what it may import from there: packages or single classes. */
  private static final Map<String, List<String>> MAY_IMPORT =
      table(
          """
          tensor         :
          kernel         : tensor
          checkpoint     : tensor
          image          : checkpoint
          model          : tensor kernel checkpoint
          calibration    : tensor kernel checkpoint model image
          pruning        : tensor kernel checkpoint model calibration
          allocation     : tensor kernel checkpoint model calibration pruning
          evaluation     : tensor kernel checkpoint model image calibration.TokenSequences \
                           calibration.ImageSamples
          zeroshot       : tensor checkpoint model calibration
          pipeline       : tensor kernel checkpoint model image calibration pruning allocation \
                           evaluation zeroshot
          planning       : tensor checkpoint model calibration pruning allocation pipeline kernel

          spark.storage  : checkpoint model image calibration
          spark.metrics  :
          spark.report   : pipeline planning pruning allocation evaluation zeroshot spark.storage.ParquetTable
          spark.pipeline : pipeline tensor kernel checkpoint model image calibration pruning \
                           allocation evaluation zeroshot spark.storage.ParquetTable spark.metrics
          spark.ml       : spark.pipeline spark.storage pipeline tensor kernel checkpoint model \
                           calibration pruning allocation evaluation
          spark.cli      : *
          """);

  private static final Path KERNELS = Path.of("src/main/java");
  private static final Path SPARK_JOB = Path.of("../owl-spark-job/src/main/java");

  private static final Pattern COMMENT = Pattern.compile("/\\*.*?\\*/|//[^\n]*", Pattern.DOTALL);
  private static final Pattern OWN =
      Pattern.compile("\\bai\\.owl\\.((?:[a-z]+\\.)+)([A-Z]\\w*|\\*)");
  private static final Pattern CLUSTER =
      Pattern.compile("\\b(org\\.apache\\.(spark|hadoop)|scala)\\.[\\w.]+");

  @Test
  void importsFollowTheTable() throws IOException {
    List<String> wrong = new ArrayList<>();
    for (Path file : sources()) {
      String importer = packageOf(file);
      assertThat(MAY_IMPORT).as("the packages that are provided for").containsKey(importer);
      Matcher use = OWN.matcher(code(file));
      while (use.find()) {
        String imported = use.group(1).substring(0, use.group(1).length() - 1);
        if (!mayImport(importer, imported, use.group(2))) {
          wrong.add(importer + " must not import " + use.group() + " (" + file + ")");
        }
      }
    }
    assertThat(wrong).isEmpty();
  }

  private static boolean mayImport(String importer, String imported, String name) {
    List<String> allowed = MAY_IMPORT.get(importer);
    return imported.equals(importer)
        || allowed.contains("*")
        || allowed.contains(imported)
        || allowed.contains(imported + "." + name);
  }

  @Test
  void kernelsKnowNoCluster() throws IOException {
    List<String> wrong = new ArrayList<>();
    for (Path file : sources(KERNELS)) {
      Matcher use = CLUSTER.matcher(code(file));
      while (use.find()) {
        wrong.add(file + " uses " + use.group());
      }
    }
    assertThat(wrong).isEmpty();
  }

  @Test
  void everyPackageIsDescribed() throws IOException {
    for (Path file : sources()) {
      assertThat(file.resolveSibling("package-info.java")).exists().content().startsWith("/**");
    }
  }

  @Test
  void everyPackageOfTheKernelsIsThere() throws IOException {
    Set<String> found =
        sources(KERNELS).stream()
            .map(PackageDirectionTest::packageOf)
            .collect(toCollection(TreeSet::new));
    Set<String> expected = new TreeSet<>(MAY_IMPORT.keySet());
    expected.removeIf(name -> name.startsWith("spark."));
    assertThat(found).isEqualTo(expected);
  }

  /** Lest the table grow a circle. */
  @Test
  void theTableHasAnOrder() {
    Map<String, List<String>> left = new LinkedHashMap<>(MAY_IMPORT);
    left.remove("spark.cli"); // may import all, and nobody imports it
    assertThat(MAY_IMPORT.values()).noneMatch(allowed -> allowed.contains("spark.cli"));
    while (!left.isEmpty()) {
      Set<String> open = Set.copyOf(left.keySet());
      boolean removed =
          left.entrySet()
              .removeIf(
                  entry ->
                      entry.getValue().stream()
                          .map(name -> name.replaceAll("\\.[A-Z]\\w*$", ""))
                          .noneMatch(open::contains));
      assertThat(removed).as("an order of %s", open).isTrue();
    }
  }

  private static List<Path> sources() throws IOException {
    List<Path> files = new ArrayList<>(sources(KERNELS));
    if (Files.isDirectory(SPARK_JOB)) {
      files.addAll(sources(SPARK_JOB));
    }
    return files;
  }

  private static List<Path> sources(Path root) throws IOException {
    try (Stream<Path> files = Files.walk(root)) {
      List<Path> sources =
          files.filter(file -> file.toString().endsWith(".java")).sorted().toList();
      assertThat(sources).as("sources in %s", root.toAbsolutePath()).isNotEmpty();
      return sources;
    }
  }

  /** Such as {@code spark.cli} for .../ai/owl/spark/cli/Main.java. */
  private static String packageOf(Path file) {
    String folder = file.getParent().toString().replace('\\', '/');
    return folder.substring(folder.indexOf("ai/owl/") + "ai/owl/".length()).replace('/', '.');
  }

  private static String code(Path file) throws IOException {
    return COMMENT.matcher(Files.readString(file)).replaceAll(" ");
  }

  private static Map<String, List<String>> table(String text) {
    Map<String, List<String>> table = new LinkedHashMap<>();
    for (String line : text.split("\n")) {
      if (!line.isBlank()) {
        String[] sides = line.split(":", 2);
        table.put(
            sides[0].trim(),
            Arrays.stream(sides[1].trim().split("\\s+")).filter(s -> !s.isEmpty()).toList());
      }
    }
    return table;
  }
}
