package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.AlphaPruning;
import ai.owl.allocation.Evidence;
import ai.owl.allocation.Global;
import ai.owl.allocation.Lamp;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.kernel.Compute;
import ai.owl.oracle.Fixture;
import ai.owl.pipeline.LocalPipeline;
import ai.owl.pipeline.Progress;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.Told;
import ai.owl.pruning.Magnitude;
import ai.owl.pruning.MetricPruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.spark.storage.HadoopStorage;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A cluster of real executor processes that have nothing but Spark's jars and ours: what crosses
 * between them must be registered, loadable and whole.
 */
class LocalClusterIT {
  @TempDir Path temporary;

  @BeforeAll
  static void makeSparkHome() throws Exception {
    Path jars = Path.of(System.getenv("SPARK_HOME"), "jars");
    Files.createDirectories(jars);
    String classpath = Files.readString(Path.of(System.getProperty("owl.spark.classpath")));
    for (String jar : classpath.strip().split(File.pathSeparator)) {
      Path link = jars.resolve(Path.of(jar).getFileName());
      if (!Files.exists(link)) {
        Files.createSymbolicLink(link, Path.of(jar));
      }
    }
  }

  @Test
  void executorsInProcessesOfTheirOwnWriteTheSameBytes() throws Exception {
    Fixture fixture = Fixture.golden("llama-linear-f16");
    // More sequences than a Gram matrix's group, so that groups come from both executors.
    List<int[]> sequences = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      sequences.addAll(fixture.calibration().sequences());
    }
    TokenSequences calibration = TokenSequences.of(sequences);
    SparkConf conf =
        SparkForTests.conf(LocalClusterIT.class, "local-cluster[2,1,768]")
            .set("spark.jars", System.getProperty("owl.jar"))
            .set("spark.executor.memory", "768m");
    try (JavaSparkContext spark = new JavaSparkContext(conf)) {
      PruneOptions defaults = PruneOptions.defaults(fixture.model(), "unused");
      PruneOptions magnitude = defaults.withPruner(new MetricPruner(new Magnitude()));
      for (PruneOptions way :
          List.of(
              defaults,
              defaults.withPruner(new SparseGpt()),
              defaults.withAllocator(new Global(Evidence.SCORES)),
              magnitude.withAllocator(new Lamp()),
              magnitude.withAllocator(new AlphaPruning(AlphaFit.PEAK, 0.2, true)))) {
        String name = way.pruner().name() + "-" + way.allocator().name();
        PruneOptions local = way.withOutput(temporary.resolve("local-" + name).toString());
        PruneReport expected =
            new LocalPipeline(new LocalStorage(), Progress.NONE)
                .prune(local, Optional.of(calibration), Optional.of(fixture.evaluation()));
        PruneOptions distributed =
            local.withOutput(temporary.resolve("cluster-" + name).toString());
        PruneReport report =
            new SparkPipeline(spark, new HadoopStorage(spark.hadoopConfiguration()), Progress.NONE)
                .prune(distributed, Optional.of(calibration), Optional.of(fixture.evaluation()));
        assertThat(spark.sc().statusTracker().getExecutorInfos())
            .as("driver and executors")
            .hasSizeGreaterThan(2);
        assertThat(Folders.digests(Path.of(distributed.output())))
            .isEqualTo(Folders.digests(Path.of(local.output())));
        assertThat(report.blocks()).isEqualTo(expected.blocks());
        assertThat(report.pruned()).isEqualTo(expected.pruned());
      }
      // A path that only the driver finds, from the folder it was started in.
      Path here = Path.of("").toAbsolutePath();
      String relative = here.relativize(Path.of(fixture.model()).toAbsolutePath()).toString();
      PruneOptions unseen =
          defaults.withModel(relative).withOutput(temporary.resolve("unseen").toString());
      assertThatThrownBy(
              () ->
                  new SparkPipeline(
                          spark, new HadoopStorage(spark.hadoopConfiguration()), Progress.NONE)
                      .prune(unseen, Optional.of(calibration), Optional.empty()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("Cannot read " + relative)
          .hasMessageContaining("on the executors' machines: it exists on the driver's alone");
    }
  }

  /** As on processors unlike the driver's. */
  @Test
  void executorsThatComputeOtherwiseThanTheDriverAreTold() throws Exception {
    assumeThat(Compute.FLOAT32.implementation()).contains("skipping zeros");
    Fixture fixture = Fixture.golden("llama-linear-f16");
    SparkConf conf =
        SparkForTests.conf(LocalClusterIT.class, "local-cluster[1,1,768]")
            .set("spark.jars", System.getProperty("owl.jar"))
            .set("spark.executor.memory", "768m")
            .set("spark.executor.extraJavaOptions", "-Dowl.sparse.limit=0");
    List<String> warnings = new ArrayList<>();
    try (JavaSparkContext spark = new JavaSparkContext(conf)) {
      new SparkPipeline(
              spark,
              new HadoopStorage(spark.hadoopConfiguration()),
              new Told(new ArrayList<>(), warnings))
          .losses(fixture.model(), fixture.evaluation());
    }
    assertThat(warnings).hasSize(1);
    assertThat(warnings.get(0))
        .matches(
            "executors make products otherwise than this driver: float32 by OpenBLAS, on \\S+ on"
                + " \\S+");
  }
}
