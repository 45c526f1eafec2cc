package ai.owl.spark.ml;

import java.util.List;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** Which weights go, each metric as published. */
public interface PrunerParams extends Params {
  /** What weights are chosen by. */
  default Param<String> metric() {
    return new Param<>(
        uid(),
        "metric",
        "which weights go: wanda, sparsegpt, magnitude, ria (--metric)",
        ParamCheck.oneOf("metric", List.of("wanda", "sparsegpt", "magnitude", "ria")));
  }

  /** Which activations the metric sees. */
  default Param<String> propagation() {
    return new Param<>(
        uid(),
        "propagation",
        "where the metric's statistics come from: sequential (behind pruned blocks, as published)"
            + " or dense (one pass, faster) (--propagation)",
        ParamCheck.oneOf("propagation", List.of("sequential", "dense")));
  }

  default String getMetric() {
    return getOrDefault(metric());
  }

  default String getPropagation() {
    return getOrDefault(propagation());
  }
}
