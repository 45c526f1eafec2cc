package ai.owl.spark.ml;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.AlphaPruning;
import java.util.List;
import org.apache.spark.ml.param.BooleanParam;
import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.Param;

/** What {@link LlmPruner} and its model share: all that a run of {@code owl prune} can be told. */
public interface LlmPrunerParams
    extends AllocationParams, PrunerParams, WindowParams, TokenColumnParams {
  /** Location of the folder for the pruned checkpoint. */
  default Param<String> output() {
    return new Param<>(uid(), "output", "folder to write the pruned checkpoint to (--output)");
  }

  /** Whether an output that is already there may be replaced. */
  default BooleanParam overwrite() {
    return new BooleanParam(
        uid(), "overwrite", "replace a checkpoint that is already in output (--overwrite)");
  }

  /** Where zeros may stand. */
  default Param<String> pattern() {
    return new Param<>(
        uid(),
        "pattern",
        "where zeros may stand: unstructured, or N:M to keep N of every M consecutive weights, such"
            + " as 2:4; N:M says the sparsity by itself (--pattern)",
        ParamCheck.by(value -> ParamValues.pattern(value, 0.5)));
  }

  /** Text or token ids to measure perplexity on. */
  default Param<String> evaluation() {
    return new Param<>(
        uid(),
        "evaluation",
        "locations, separated by commas, of text or token ids to measure perplexity on, before and after (--evaluate)");
  }

  /** ε of AlphaPruning. */
  default DoubleParam epsilon() {
    return new DoubleParam(
        uid(),
        "epsilon",
        "alpha: sparsities go from 1 - epsilon to 1 + epsilon times their middle, in [0, 1]"
            + " (--epsilon)",
        ParamCheck.by(value -> new AlphaPruning(AlphaFit.PEAK, (Double) value, false)));
  }

  /** Where a spectrum's tail begins. */
  default Param<String> alphaFit() {
    return new Param<>(
        uid(),
        "alphaFit",
        "alpha: where a spectrum's tail begins, peak or mid (--alpha-fit)",
        ParamCheck.oneOf("alphaFit", List.of("peak", "mid")));
  }

  /** Whether AlphaPruning goes by linear layer. */
  default BooleanParam alphaPerLinear() {
    return new BooleanParam(
        uid(),
        "alphaPerLinear",
        "alpha: a sparsity for each linear layer, not for each block (--alpha-per-linear)");
  }

  /** Column that the model appends. */
  default Param<String> lossCol() {
    return new Param<>(
        uid(),
        "lossCol",
        "output of the model: column of the pruned checkpoint's mean next-token loss, in nats");
  }

  default String getOutput() {
    return ParamCheck.required(this, output(), "the folder to write to", "setOutput");
  }

  default boolean getOverwrite() {
    return (Boolean) getOrDefault(overwrite());
  }

  default String getPattern() {
    return getOrDefault(pattern());
  }

  default String getEvaluation() {
    return getOrDefault(evaluation());
  }

  default double getEpsilon() {
    return (Double) getOrDefault(epsilon());
  }

  default String getAlphaFit() {
    return getOrDefault(alphaFit());
  }

  default boolean getAlphaPerLinear() {
    return (Boolean) getOrDefault(alphaPerLinear());
  }

  default String getLossCol() {
    return getOrDefault(lossCol());
  }
}
