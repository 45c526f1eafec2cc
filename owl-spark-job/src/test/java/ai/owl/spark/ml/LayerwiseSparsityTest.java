package ai.owl.spark.ml;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.allocation.Atp;
import ai.owl.allocation.Dlp;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.LinearProfile;
import ai.owl.allocation.Owl;
import ai.owl.allocation.OwlBounded;
import ai.owl.allocation.OwlInverse;
import ai.owl.allocation.SparsityAllocation;
import ai.owl.allocation.SparsityAllocator;
import ai.owl.allocation.Uniform;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.spark.SparkException;
import org.apache.spark.ml.Pipeline;
import org.apache.spark.ml.PipelineModel;
import org.apache.spark.ml.PipelineStage;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class LayerwiseSparsityTest {
  /** Five blocks of two sizes, with outlier ratios that are no round numbers. */
  private static final List<LayerProfile> PROFILES = profiles();

  private static SparkSession spark;

  @TempDir Path temporary;

  @BeforeAll
  static void start() {
    spark = NotebookSession.open();
  }

  @AfterAll
  static void stop() {
    spark.stop();
  }

  private static List<LayerProfile> profiles() {
    long[][] outliers = {{977, 311}, {1234, 402}, {801, 12}, {2048, 999}, {1500, 640}};
    List<LayerProfile> profiles = new ArrayList<>();
    for (int block = 0; block < outliers.length; block++) {
      int cols = block == 3 ? 193 : 97;
      List<LinearProfile> linears =
          List.of(
              new LinearProfile("up " + block, 100, cols, 0.1 + block / 3.0, new TreeMap<>()),
              new LinearProfile("down " + block, 50, cols, 1.7 - block / 7.0, new TreeMap<>()));
      profiles.add(
          new LayerProfile(
              block,
              150L * cols,
              new TreeMap<>(Map.of(3.0, outliers[block][0], 5.0, outliers[block][1])),
              linears));
    }
    return profiles;
  }

  static Stream<SparsityAllocator> allocators() {
    return Stream.of(
        new Owl(5, 0.08),
        new Owl(3, 0.15),
        new OwlBounded(5, 0.2),
        new OwlInverse(3, 0.05),
        new Uniform(),
        new Dlp(0.12),
        new Atp(0.01));
  }

  private static LayerwiseSparsity estimator(SparsityAllocator allocator) {
    LayerwiseSparsity estimator = new LayerwiseSparsity().setStrategy(allocator.name());
    allocator.settings().forEach(estimator::set); // Params have the names of the reports' keys
    return estimator;
  }

  @ParameterizedTest
  @MethodSource("allocators")
  void learnsWhatTheAllocatorAllocates(SparsityAllocator allocator) {
    List<LayerProfile> shuffled = new ArrayList<>(PROFILES);
    Collections.reverse(shuffled);
    Dataset<Row> table = BlockTable.of(spark, shuffled);
    SparsityAllocation expected = allocator.allocate(PROFILES, 0.65);
    LayerwiseSparsityModel model = estimator(allocator).setTargetSparsity(0.65).fit(table);
    assertThat(model.allocation()).isEqualTo(expected);
    assertThat(model.warnings()).isEqualTo(expected.warnings());
    assertThat(model.weightedMean()).isEqualTo(expected.weightedMean());
    List<Row> rows = model.transform(table).collectAsList();
    assertThat(rows).hasSize(PROFILES.size());
    for (Row row : rows) {
      assertThat(row.<Double>getAs("sparsity")).isEqualTo(expected.sparsity(row.getAs("block")));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"owl-linear", "global", "er", "erk", "lamp", "alpha"})
  void refusesByNameWhatATableOfBlocksCannotTell(String strategy) {
    assertThatThrownBy(
            () -> new LayerwiseSparsity().setStrategy(strategy).fit(BlockTable.of(spark, PROFILES)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("Cannot allocate by strategy " + strategy)
        .hasMessageContaining("LlmPruner");
  }

  @Test
  void tellsEveryParamAndItsDefault() {
    LayerwiseSparsity estimator = new LayerwiseSparsity();
    assertThat(NotebookSession.names(estimator))
        .containsExactly(
            "atpBeta",
            "blockCol",
            "dlpAlpha",
            "lambda",
            "outlierThreshold",
            "outliersCol",
            "scoreSumCol",
            "sparsityCol",
            "strategy",
            "targetSparsity",
            "weightsCol");
    assertThat(NotebookSession.names(new LayerwiseSparsityModel("uid")))
        .isEqualTo(NotebookSession.names(estimator));
    assertThat(estimator.explainParams())
        .contains(
            "atpBeta: atp: the step of sparsity from each block to the next, in [0, 1)"
                + " (--atp-beta) (undefined)",
            "lambda: owl…: sparsities span 2 lambda",
            "(default: 0.08)",
            "(default: 0.7)",
            "strategy: how the sparsity is spread: owl, owl-bounded, owl-inverse, uniform, dlp, atp,"
                + " owl-linear, global, er, erk, lamp, alpha (--allocation) (default: owl)");
  }

  @Test
  void refusesValuesWithTheWordsOfWhatTheyAreFor() {
    LayerwiseSparsity estimator = new LayerwiseSparsity();
    assertThatThrownBy(() -> estimator.setLambda(0.5))
        .hasMessageContaining("Cannot use --lambda 0.5: it must be in [0, 0.5)");
    assertThatThrownBy(() -> estimator.setOutlierThreshold(-1))
        .hasMessageContaining("Cannot use --outlier-threshold -1.0");
    assertThatThrownBy(() -> estimator.setTargetSparsity(1))
        .hasMessageContaining("must be in [0, 1)");
    assertThatThrownBy(() -> estimator.setDlpAlpha(0.7)).hasMessageContaining("--dlp-alpha 0.7");
    assertThatThrownBy(() -> estimator.setAtpBeta(1)).hasMessageContaining("--atp-beta 1.0");
    assertThatThrownBy(() -> estimator.setStrategy("owls"))
        .hasMessageContaining("Cannot use strategy 'owls': it is one of owl, owl-bounded");
    assertThatThrownBy(() -> new ParamMap().put(estimator.strategy().w("owls")))
        .as("through a grid, too")
        .hasMessageContaining("Cannot use strategy 'owls'");
    assertThatThrownBy(() -> estimator.setStrategy("atp").fit(BlockTable.of(spark, PROFILES)))
        .hasMessageContaining("Cannot allocate by atp without atpBeta");
    assertThatThrownBy(
            () ->
                estimator
                    .setStrategy("owl")
                    .setOutlierThreshold(4)
                    .fit(BlockTable.of(spark, PROFILES)))
        .hasMessageContaining("at threshold 4.0: counted were [3.0, 5.0]");
  }

  @Test
  void refusesATableThatIsNone() {
    LayerwiseSparsity estimator = new LayerwiseSparsity();
    Dataset<Row> table = BlockTable.of(spark, PROFILES);
    assertThatThrownBy(() -> estimator.fit(table.drop("outliers")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "Cannot use the dataset: it has no column 'outliers' (map from double to bigint, which"
                + " strategy owl looks at) but [block, weights, scoreSum]; name another with"
                + " setOutliersCol");
    assertThatThrownBy(() -> estimator.fit(table.withColumn("weights", functions.lit("many"))))
        .hasMessage("Cannot use column 'weights': it is string, not int or bigint");
    assertThatThrownBy(() -> estimator.fit(table.withColumn("sparsity", functions.lit(0.5))))
        .hasMessageContaining("Cannot append column 'sparsity'")
        .hasMessageContaining("setSparsityCol");
    assertThatThrownBy(() -> estimator.fit(table.union(table)))
        .hasMessage("Cannot use the dataset: block 0 is in it more than once");
    assertThatThrownBy(() -> estimator.fit(table.filter("block <> 2")))
        .hasMessageContaining("its 4 blocks go from 0 to 4, and not one by one from 0 on");
    assertThatThrownBy(() -> estimator.fit(table.filter("block < 0")))
        .hasMessageContaining("it has no rows");
    assertThatThrownBy(
            () ->
                estimator.fit(
                    table.withColumn("weights", functions.expr("if(block = 3, null, weights)"))))
        .hasMessage("Cannot use column 'weights': it is null for block 3");
    assertThatThrownBy(() -> estimator.fit(table.withColumn("weights", functions.lit(1000))))
        .hasMessageContaining("outliers of block")
        .hasMessageContaining("it has 1000 weights");
    assertThatThrownBy(() -> estimator.fit(table.withColumn("weights", functions.lit(0))))
        .hasMessageContaining("it has 0 weights");
  }

  @Test
  void looksOnlyAtTheColumnsOfItsStrategy() {
    Dataset<Row> bare =
        spark.createDataFrame(
            List.of(RowFactory.create(0L, 10), RowFactory.create(1L, 30)),
            new StructType().add("layer", DataTypes.LongType).add("size", DataTypes.IntegerType));
    LayerwiseSparsityModel model =
        new LayerwiseSparsity()
            .setStrategy("uniform")
            .setBlockCol("layer")
            .setWeightsCol("size")
            .setSparsityCol("share")
            .setTargetSparsity(0.25)
            .fit(bare);
    assertThat(model.transform(bare).select("share").collectAsList())
        .containsExactly(RowFactory.create(0.25), RowFactory.create(0.25));
    assertThat(model.transform(bare).schema()).isEqualTo(model.transformSchema(bare.schema()));
  }

  @Test
  void aModelGivesNoSparsityToABlockItDoesNotKnow() {
    Dataset<Row> table = BlockTable.of(spark, PROFILES);
    LayerwiseSparsityModel model = new LayerwiseSparsity().fit(table);
    assertThatThrownBy(
            () -> model.transform(table.withColumn("block", functions.lit(7))).collectAsList())
        .isInstanceOf(SparkException.class)
        .rootCause()
        .hasMessage("Cannot give block 7 a sparsity: the model was fitted on blocks 0..4");
    assertThatThrownBy(() -> new LayerwiseSparsityModel("blank").transform(table))
        .hasMessage("Cannot use blank: it was neither fitted nor loaded");
  }

  @Test
  void theModelHasTheEstimatorsUidAndParams() {
    LayerwiseSparsity estimator = new LayerwiseSparsity().setLambda(0.03).setTargetSparsity(0.6);
    LayerwiseSparsityModel model =
        estimator.fit(
            BlockTable.of(spark, PROFILES),
            new ParamMap().put(estimator.outlierThreshold().w(3.0)));
    assertThat(model.uid()).isEqualTo(estimator.uid());
    assertThat(model.parent().uid()).isEqualTo(estimator.uid());
    assertThat(model.getLambda()).isEqualTo(0.03);
    assertThat(model.getOutlierThreshold()).isEqualTo(3.0);
    assertThat(estimator.getOutlierThreshold()).as("untouched").isEqualTo(5.0);
    LayerwiseSparsityModel copy = model.copy(new ParamMap().put(model.sparsityCol().w("share")));
    assertThat(copy.allocation()).isEqualTo(model.allocation());
    assertThat(copy.getSparsityCol()).isEqualTo("share");
    assertThat(copy.uid()).isEqualTo(model.uid());
    assertThat(model.getSparsityCol()).isEqualTo("sparsity");
  }

  @Test
  void survivesSavingAndLoading() throws Exception {
    Dataset<Row> table = BlockTable.of(spark, PROFILES);
    LayerwiseSparsity estimator =
        new LayerwiseSparsity().setStrategy("owl").setLambda(0.11).setOutlierThreshold(3);
    String saved = temporary.resolve("estimator").toString();
    estimator.save(saved);
    LayerwiseSparsity loaded = LayerwiseSparsity.load(saved);
    assertThat(loaded.uid()).isEqualTo(estimator.uid());
    assertThat(loaded.extractParamMap().toString())
        .isEqualTo(estimator.extractParamMap().toString());

    LayerwiseSparsityModel model = estimator.fit(table);
    assertThat(model.warnings()).as("something to lose").isNotEmpty();
    String savedModel = temporary.resolve("model").toString();
    model.save(savedModel);
    LayerwiseSparsityModel again = LayerwiseSparsityModel.load(savedModel);
    assertThat(again.uid()).isEqualTo(model.uid());
    assertThat(again.extractParamMap().toString()).isEqualTo(model.extractParamMap().toString());
    assertThat(again.allocation()).isEqualTo(model.allocation());
    assertThatThrownBy(() -> model.save(savedModel)).hasMessageContaining("already exists");
    model.write().overwrite().save(savedModel);
    assertThat(LayerwiseSparsityModel.load(savedModel).sparsities()).isEqualTo(model.sparsities());
  }

  @Test
  void isAStageOfAPipelineThatIsSaved() throws Exception {
    Dataset<Row> table = BlockTable.of(spark, PROFILES);
    PipelineModel pipeline =
        new Pipeline().setStages(new PipelineStage[] {new LayerwiseSparsity()}).fit(table);
    String saved = temporary.resolve("pipeline").toString();
    pipeline.save(saved);
    assertThat(PipelineModel.load(saved).transform(table).collectAsList())
        .isEqualTo(pipeline.transform(table).collectAsList());
  }
}
