package ai.owl.spark.report;

import ai.owl.pipeline.PruneOptions;
import ai.owl.pipeline.PruneReport;
import ai.owl.pipeline.SweepReport;
import ai.owl.spark.storage.ParquetTable;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
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
            optional binary propagation (STRING);
            required binary pattern (STRING);
            required binary label (STRING);
            required double reached;
            required double perplexity;
            required double dense_perplexity;
            optional double mean_acc;
            optional double dense_mean_acc;
            required boolean best;
            required group block_sparsities (LIST) {
              repeated group list {
                required double element;
              }
            }
          }
          """);

  private SweepTable() {}

  /** The table as the content of a Parquet file. */
  public static byte[] parquet(SweepReport report) throws IOException {
    List<Group> rows = new ArrayList<>();
    report.rows().forEach(row -> rows.add(group(report, row)));
    return ParquetTable.bytes(SCHEMA, rows);
  }

  private static Group group(SweepReport report, SweepReport.Row row) {
    PruneOptions options = row.options();
    Group group = new SimpleGroup(SCHEMA);
    group.add("sparsity", options.sparsity());
    group.add("metric", options.pruner().name());
    group.add("allocation", options.allocator().name());
    options.allocator().outlierThreshold().ifPresent(m -> group.add("outlier_threshold", m));
    if (options.allocator().settings().get("lambda") instanceof Double lambda) {
      group.add("lambda", lambda);
    }
    if (options.pruner().needsStatistics()) {
      group.add("propagation", options.propagation().label());
    }
    group.add("pattern", options.pattern().label());
    group.add("label", row.label());
    group.add("reached", row.reached());
    group.add("perplexity", row.pruned().value());
    group.add("dense_perplexity", report.dense().value());
    row.tasks().forEach(tasks -> group.add("mean_acc", tasks.mean()));
    report.denseTasks().forEach(tasks -> group.add("dense_mean_acc", tasks.mean()));
    group.add("best", report.best(options.sparsity()).orElseThrow() == row);
    Group list = group.addGroup("block_sparsities");
    for (PruneReport.Block block : row.blocks()) {
      list.addGroup("list").add("element", block.sparsity());
    }
    return group;
  }
}
