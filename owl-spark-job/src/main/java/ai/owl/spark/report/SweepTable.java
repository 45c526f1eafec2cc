package ai.owl.spark.report;

import ai.owl.allocation.Owl;
import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
import org.apache.parquet.hadoop.ParquetFileWriter;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;

/** The rows of a sweep as a Parquet file, for notebooks and SQL. */
public final class SweepTable {
  private static final MessageType SCHEMA =
      MessageTypeParser.parseMessageType(
          """
          message sweep {
            required double sparsity;
            required binary metric (STRING);
            required binary allocation (STRING);
            optional double outlier_threshold;
            optional double lambda;
            required binary propagation (STRING);
            required double reached;
            required double perplexity;
            required double dense_perplexity;
            required boolean best;
            required group block_sparsities (LIST) {
              repeated group list {
                required double element;
              }
            }
          }
          """);

  private SweepTable() {}

  /** Writes the table, in place of one that is there. */
  public static void writeParquet(Configuration hadoop, SweepReport report, String location)
      throws IOException {
    try (ParquetWriter<Group> writer =
        ExampleParquetWriter.builder(new Path(location))
            .withConf(hadoop)
            .withType(SCHEMA)
            .withCompressionCodec(CompressionCodecName.UNCOMPRESSED)
            .withWriteMode(ParquetFileWriter.Mode.OVERWRITE)
            .build()) {
      for (SweepReport.Row row : report.rows()) {
        writer.write(group(report, row));
      }
    }
  }

  private static Group group(SweepReport report, SweepReport.Row row) {
    PruneOptions options = row.options();
    Group group = new SimpleGroup(SCHEMA);
    group.add("sparsity", options.sparsity());
    group.add("metric", options.pruner().name());
    group.add("allocation", options.allocator().name());
    if (options.allocator() instanceof Owl owl) {
      group.add("outlier_threshold", owl.threshold());
      group.add("lambda", owl.lambda());
    }
    group.add("propagation", options.propagation().label());
    group.add("reached", row.reached());
    group.add("perplexity", row.pruned().value());
    group.add("dense_perplexity", report.dense().value());
    group.add("best", report.best(options.sparsity()).orElseThrow() == row);
    Group list = group.addGroup("block_sparsities");
    for (PruneReport.Block block : row.blocks()) {
      list.addGroup("list").add("element", block.sparsity());
    }
    return group;
  }
}
