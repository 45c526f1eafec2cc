package ai.owl.spark.ml;

import ai.owl.checkpoint.Storage;
import ai.owl.spark.pipeline.SparkPipeline;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.TokenInput;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;

/** The pipeline in the session that a dataset belongs to, and the storage that session sees. */
record SessionPipeline(JavaSparkContext spark, Storage storage, SparkPipeline pipeline) {
  private static final String REQUIRED = "spark.kryo.registrationRequired";

  /**
   * @throws IllegalArgumentException if the session's serializer cannot carry what crosses
   */
  static SessionPipeline of(Dataset<?> dataset) {
    JavaSparkContext spark =
        JavaSparkContext.fromSparkContext(dataset.sparkSession().sparkContext());
    if (spark.getConf().getBoolean(REQUIRED, false)) {
      throw new IllegalArgumentException(
          "Cannot use a dataset in this Spark session: "
              + REQUIRED
              + " is true, and Spark does not register all that its own datasets need; start the"
              + " session without it");
    }
    Storage storage = new HadoopStorage(spark.hadoopConfiguration());
    return new SessionPipeline(
        spark, storage, new SparkPipeline(spark, storage, new LoggedProgress()));
  }

  /** What reads text and token ids by their location. */
  TokenInput tokenInput() {
    return new TokenInput(spark.hadoopConfiguration(), storage);
  }
}
