package ai.owl.spark.ml;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.calibration.BlockGrams;
import ai.owl.calibration.BlockStatistics;
import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LinearInput;
import ai.owl.model.ModelLayout;
import ai.owl.model.TokenEmbedding;
import ai.owl.oracle.Fixture;
import ai.owl.tensor.Matrix;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.ml.linalg.VectorUDT;
import org.apache.spark.ml.stat.Summarizer;
import org.apache.spark.mllib.linalg.Vector;
import org.apache.spark.mllib.linalg.Vectors;
import org.apache.spark.mllib.linalg.distributed.RowMatrix;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.StructType;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * The statistics of a block's activations, held against those that MLlib gathers of the same rows
 * in float64, by code that has nothing in common with ours.
 */
class MllibOracleTest {
  private static SparkSession spark;
  private static Map<LinearInput, List<double[]>> rows;
  private static BlockStatistics statistics;
  private static BlockGrams grams;

  @BeforeAll
  static void start() throws Exception {
    spark = NotebookSession.open();
    rows = new EnumMap<>(LinearInput.class);
    statistics = new BlockStatistics();
    grams = new BlockGrams();
    observeSecondBlock(Fixture.golden("llama3-bf16"));
  }

  @AfterAll
  static void stop() {
    grams.close();
    spark.stop();
  }

  private static void observeSecondBlock(Fixture fixture) throws Exception {
    LocalStorage storage = new LocalStorage();
    ModelLayout model = ModelLayout.of(Checkpoint.open(storage, fixture.model()));
    try (TensorReader reader = new TensorReader(storage);
        ForwardBuffers buffers = new ForwardBuffers(model.config());
        DecoderBlock first = load(model, 0, reader);
        DecoderBlock second = load(model, 1, reader)) {
      List<Matrix> hidden = TokenEmbedding.embed(model, fixture.calibration().sequences(), reader);
      for (Matrix states : hidden) {
        first.advance(states, buffers, (input, x) -> {});
        second.observe(
            states,
            buffers,
            (input, x) -> {
              statistics.observe(input, x);
              grams.observe(input, x);
              keep(input, x);
            });
      }
      hidden.forEach(Matrix::close);
    }
  }

  private static DecoderBlock load(ModelLayout model, int index, TensorReader reader)
      throws Exception {
    BlockLayout layout = model.blocks().get(index);
    return DecoderBlock.load(model.config(), layout, reader);
  }

  private static void keep(LinearInput input, Matrix x) {
    float[] row = new float[x.cols()];
    for (long t = 0; t < x.rows(); t++) {
      x.row(t, row);
      double[] wide = new double[row.length];
      for (int j = 0; j < wide.length; j++) {
        wide[j] = row[j];
      }
      rows.computeIfAbsent(input, any -> new ArrayList<>()).add(wide);
    }
  }

  @Test
  void columnNormsAreThoseOfSummarizer() {
    assertThat(rows.keySet()).containsExactly(LinearInput.values());
    rows.forEach(
        (input, activations) -> {
          List<Row> vectors =
              activations.stream()
                  .map(org.apache.spark.ml.linalg.Vectors::dense)
                  .map(RowFactory::create)
                  .toList();
          double[] expected =
              spark
                  .createDataFrame(vectors, new StructType().add("x", new VectorUDT()))
                  .select(Summarizer.normL2(functions.col("x")))
                  .first()
                  .<org.apache.spark.ml.linalg.Vector>getAs(0)
                  .toArray();
          double[] sums = statistics.at(input).sumsOfSquares();
          float[] norms = statistics.at(input).norms();
          assertThat(sums).hasSameSizeAs(expected);
          for (int j = 0; j < sums.length; j++) {
            // Sums are in float64, of squares of the same float32 numbers.
            assertThat(Math.sqrt(sums[j]))
                .as("%s, feature %d", input, j)
                .isCloseTo(expected[j], Offset.offset(1e-12 * (1 + expected[j])));
            assertThat((double) norms[j])
                .isCloseTo(expected[j], Offset.offset(2.0 * Math.ulp((float) expected[j])));
          }
        });
  }

  @Test
  void gramsAreThoseOfRowMatrix() {
    rows.forEach(
        (input, activations) -> {
          List<Vector> vectors = activations.stream().map(Vectors::dense).toList();
          double[] expected =
              new RowMatrix(
                      JavaSparkContext.fromSparkContext(spark.sparkContext())
                          .parallelize(vectors, 3)
                          .rdd())
                  .computeGramianMatrix()
                  .toArray(); // column by column, and symmetric
          Matrix products = grams.at(input).products();
          int features = products.cols();
          assertThat(expected).hasSize(features * features);
          float[] row = new float[features];
          double largest = 0;
          for (int i = 0; i < features; i++) {
            products.row(i, row);
            for (int j = i; j < features; j++) {
              // Float32 sums: errors are relative to the product of the features' norms.
              double scale = Math.sqrt(expected[i * features + i] * expected[j * features + j]);
              double error = Math.abs(row[j] - expected[i * features + j]);
              assertThat(error).as("%s (%d, %d)", input, i, j).isLessThanOrEqualTo(1e-5 * scale);
              largest = Math.max(largest, Math.abs(expected[i * features + j]));
            }
          }
          assertThat(largest).as("there is something to compare").isPositive();
        });
  }
}
