package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.Storage;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.PruneOptions;
import ai.owl.spark.storage.HadoopStorage;
import ai.owl.spark.storage.HdfsCluster;
import ai.owl.spark.storage.S3Server;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whole runs from and to S3 and HDFS, which must leave what a local run leaves. */
class ObjectStorageIT {
  private static final int LIMIT = 64 << 20;
  private static final Storage LOCAL = new LocalStorage();
  private static final Fixture FIXTURE =
      new Fixture(Path.of("../owl-kernels/src/test/resources/golden/mistral-bf16"));

  @TempDir static Path temporary;

  private static JavaSparkContext spark;
  private static String expected;

  @BeforeAll
  static void pruneLocally() throws IOException {
    spark = SparkForTests.start(ObjectStorageIT.class);
    expected = temporary.resolve("expected").toString();
    new LocalPipeline(LOCAL, Progress.NONE)
        .prune(
            PruneOptions.defaults(FIXTURE.model(), expected),
            Optional.of(FIXTURE.calibration()),
            Optional.empty());
  }

  @AfterAll
  static void stop() {
    spark.stop();
  }

  @Test
  void prunesFromS3ToS3() throws IOException {
    try (S3Server s3 = S3Server.start()) {
      prune(new HadoopStorage(s3.settings()), "s3a://" + s3.newBucket());
      assertThat(s3.copies()).as("renamed objects").isZero();
    }
  }

  @Test
  void prunesFromHdfsToHdfs() throws IOException {
    try (HdfsCluster hdfs = HdfsCluster.start(temporary.resolve("hdfs"))) {
      prune(new HadoopStorage(new Configuration()), hdfs.uri());
    }
  }

  private static void prune(Storage storage, String root) throws IOException {
    String model = Storage.resolve(root, "a model");
    String output = Storage.resolve(root, "runs/out");
    for (String name : LOCAL.list(FIXTURE.model())) {
      storage.writeAll(
          Storage.resolve(model, name),
          LOCAL.readAll(Storage.resolve(FIXTURE.model(), name), LIMIT));
    }

    new SparkPipeline(spark, storage, Progress.NONE, 2)
        .prune(
            PruneOptions.defaults(model, output),
            Optional.of(FIXTURE.calibration()),
            Optional.empty());

    List<String> names = LOCAL.list(expected);
    assertThat(names).contains("model.safetensors.index.json", "config.json", "_owl");
    assertThat(storage.list(output)).isEqualTo(names);
    // No lock, no mark: the run's own folder, and its report.
    assertThat(storage.list(Storage.resolve(output, "_owl")))
        .isEqualTo(LOCAL.list(Storage.resolve(expected, "_owl")))
        .hasSize(2)
        .contains("report.json");
    for (String name : names) {
      if (!name.equals("_owl")) {
        assertThat(storage.readAll(Storage.resolve(output, name), LIMIT))
            .as(name)
            .isEqualTo(LOCAL.readAll(Storage.resolve(expected, name), LIMIT));
      }
    }
  }
}
