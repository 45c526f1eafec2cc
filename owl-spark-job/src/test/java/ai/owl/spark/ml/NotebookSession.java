package ai.owl.spark.ml;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/** A session as a notebook has it: nothing is set that owl-spark's own commands set. */
final class NotebookSession {
  private NotebookSession() {}

  static SparkSession open() {
    return builder().getOrCreate();
  }

  static SparkSession.Builder builder() {
    return SparkSession.builder()
        .master("local[2]")
        .appName("notebook")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2");
  }

  /** A column {@code tokens}, a sequence a row. */
  static Dataset<Row> tokens(SparkSession spark, List<int[]> sequences) {
    List<Row> rows = new ArrayList<>();
    for (int[] sequence : sequences) {
      Object[] ids = new Object[sequence.length];
      for (int t = 0; t < ids.length; t++) {
        ids[t] = sequence[t];
      }
      rows.add(RowFactory.create((Object) ids));
    }
    return spark.createDataFrame(
        rows, new StructType().add("tokens", DataTypes.createArrayType(DataTypes.IntegerType)));
  }

  static List<String> names(Params params) {
    List<String> names = new ArrayList<>();
    for (Param<?> param : params.params()) {
      names.add(param.name());
    }
    return names;
  }
}
