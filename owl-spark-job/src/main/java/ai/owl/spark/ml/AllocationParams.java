package ai.owl.spark.ml;

import ai.owl.allocation.Atp;
import ai.owl.allocation.Dlp;
import ai.owl.allocation.Owl;
import ai.owl.pruning.SparsityPattern;
import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** How much goes from where: a strategy of {@link ai.owl.allocation}, and its hyper-parameters. */
public interface AllocationParams extends Params {
  /** The share S of weights to remove, in [0, 1). */
  default DoubleParam targetSparsity() {
    return new DoubleParam(
        uid(),
        "targetSparsity",
        "share of the weights of the blocks' linear layers to remove, in [0, 1) (--sparsity)",
        ParamCheck.by(value -> new SparsityPattern.Unstructured((Double) value)));
  }

  /** The name of a strategy, as {@code --allocation} has it. */
  default Param<String> strategy() {
    return new Param<>(
        uid(),
        "strategy",
        "how the sparsity is spread: "
            + String.join(", ", ParamValues.strategies())
            + " (--allocation)",
        ParamCheck.oneOf("strategy", ParamValues.strategies()));
  }

  /** M: a weight is an outlier if its score exceeds M times the mean score. */
  default DoubleParam outlierThreshold() {
    return new DoubleParam(
        uid(),
        "outlierThreshold",
        "owl…: a weight is an outlier above M times its block's mean score; with owl-linear, its"
            + " layer's (--outlier-threshold)",
        ParamCheck.by(value -> new Owl((Double) value, 0)));
  }

  /** λ, half the width of the range of sparsities. */
  default DoubleParam lambda() {
    return new DoubleParam(
        uid(),
        "lambda",
        "owl…: sparsities span 2 lambda, in [0, 0.5); with owl-bounded, within lambda of"
            + " targetSparsity (--lambda)",
        ParamCheck.by(value -> new Owl(1, (Double) value)));
  }

  /** α of DLP. */
  default DoubleParam dlpAlpha() {
    return new DoubleParam(
        uid(),
        "dlpAlpha",
        "dlp: the blocks' sparsities span 2 alpha, in [0, 0.5) (--dlp-alpha)",
        ParamCheck.by(value -> new Dlp((Double) value)));
  }

  /** β of ATP; has no default, since there is no published value. */
  default DoubleParam atpBeta() {
    return new DoubleParam(
        uid(),
        "atpBeta",
        "atp: the step of sparsity from each block to the next, in [0, 1) (--atp-beta)",
        ParamCheck.by(value -> new Atp((Double) value)));
  }

  default double getTargetSparsity() {
    return (Double) getOrDefault(targetSparsity());
  }

  default String getStrategy() {
    return getOrDefault(strategy());
  }

  default double getOutlierThreshold() {
    return (Double) getOrDefault(outlierThreshold());
  }

  default double getLambda() {
    return (Double) getOrDefault(lambda());
  }

  default double getDlpAlpha() {
    return (Double) getOrDefault(dlpAlpha());
  }

  default double getAtpBeta() {
    return (Double) getOrDefault(atpBeta());
  }
}
