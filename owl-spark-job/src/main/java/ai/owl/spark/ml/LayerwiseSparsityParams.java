package ai.owl.spark.ml;

import org.apache.spark.ml.param.Param;

/** What {@link LayerwiseSparsity} and its model share: the strategy, and the table's columns. */
public interface LayerwiseSparsityParams extends AllocationParams {
  /** Column of the block's 0-based index. */
  default Param<String> blockCol() {
    return new Param<>(uid(), "blockCol", "column of the block's 0-based index (int or bigint)");
  }

  /** Column of the number of the block's prunable weights. */
  default Param<String> weightsCol() {
    return new Param<>(
        uid(), "weightsCol", "column of the number of prunable weights (int or bigint)");
  }

  /** Column of outlier counts. */
  default Param<String> outliersCol() {
    return new Param<>(
        uid(),
        "outliersCol",
        "owl…: column of outlier counts by threshold M (map from double to bigint), of which"
            + " outlierThreshold picks one");
  }

  /** Column of summed scores. */
  default Param<String> scoreSumCol() {
    return new Param<>(
        uid(), "scoreSumCol", "dlp: column of the block's summed scores |W|·‖x‖ (double)");
  }

  /** Column that transform appends. */
  default Param<String> sparsityCol() {
    return new Param<>(
        uid(),
        "sparsityCol",
        "output: column of the share of the block's weights to remove (double)");
  }

  default String getBlockCol() {
    return getOrDefault(blockCol());
  }

  default String getWeightsCol() {
    return getOrDefault(weightsCol());
  }

  default String getOutliersCol() {
    return getOrDefault(outliersCol());
  }

  default String getScoreSumCol() {
    return getOrDefault(scoreSumCol());
  }

  default String getSparsityCol() {
    return getOrDefault(sparsityCol());
  }
}
