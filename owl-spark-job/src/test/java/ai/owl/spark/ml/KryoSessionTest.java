package ai.owl.spark.ml;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.oracle.Fixture;
import ai.owl.spark.pipeline.OwlKryoRegistrator;
import java.nio.file.Path;
import org.apache.spark.SparkConf;
import org.apache.spark.serializer.KryoSerializer;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Sessions whose serializer is Kryo, as many clusters set it. */
class KryoSessionTest {
  private static final Fixture FIXTURE = Fixture.golden("llama-f32");

  @TempDir Path temporary;

  private LlmPruner pruner() {
    return new LlmPruner()
        .setModel(FIXTURE.model())
        .setOutput(temporary.resolve("pruned").toString())
        .setTokensCol("tokens")
        .setMetric("sparsegpt");
  }

  @Test
  void withoutTheRegistratorItIsRefused() throws Exception {
    try (SparkSession spark =
        NotebookSession.builder()
            .config("spark.serializer", KryoSerializer.class.getName())
            .getOrCreate()) {
      Dataset<Row> tokens = NotebookSession.tokens(spark, FIXTURE.calibration().sequences());
      assertThatThrownBy(() -> pruner().fit(tokens))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("Cannot prune in this Spark session")
          .hasMessageContaining("spark.kryo.registrator=" + OwlKryoRegistrator.class.getName());
      assertThat(temporary.resolve("pruned")).doesNotExist();
    }
  }

  /** Spark breaks its own datasets so; our commands, which set it, use none. */
  @Test
  void registrationThatIsRequiredIsRefused() throws Exception {
    SparkConf conf = new SparkConf(false);
    OwlKryoRegistrator.configure(conf);
    try (SparkSession spark = NotebookSession.builder().config(conf).getOrCreate()) {
      Dataset<Row> tokens = NotebookSession.tokens(spark, FIXTURE.calibration().sequences());
      assertThatThrownBy(() -> pruner().fit(tokens))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("spark.kryo.registrationRequired is true");
    }
  }

  @Test
  void withTheRegistratorAllOfItWorks() throws Exception {
    try (SparkSession spark =
        NotebookSession.builder()
            .config("spark.serializer", KryoSerializer.class.getName())
            .config("spark.kryo.registrator", OwlKryoRegistrator.class.getName())
            .getOrCreate()) {
      Dataset<Row> tokens = NotebookSession.tokens(spark, FIXTURE.calibration().sequences());
      LlmPrunerModel model = pruner().fit(tokens);
      String saved = temporary.resolve("model").toString();
      model.save(saved);
      assertThat(LlmPrunerModel.load(saved).transform(tokens).collectAsList())
          .hasSize(FIXTURE.calibration().count());
      Dataset<Row> blocks = BlockTable.ofReport(spark, model.getOutput());
      LayerwiseSparsityModel sparsity = new LayerwiseSparsity().fit(blocks);
      String savedSparsity = temporary.resolve("sparsity").toString();
      sparsity.save(savedSparsity);
      assertThat(LayerwiseSparsityModel.load(savedSparsity).sparsities())
          .isEqualTo(model.sparsities());
    }
  }
}
