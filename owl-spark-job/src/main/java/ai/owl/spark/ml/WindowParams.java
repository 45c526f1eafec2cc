package ai.owl.spark.ml;

import java.util.List;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.LongParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** The checkpoint, and how windows of tokens are taken from text for it. */
public interface WindowParams extends Params {
  /** Location of the checkpoint. */
  default Param<String> model() {
    return new Param<>(
        uid(),
        "model",
        "folder with config.json, safetensors and, for text, tokenizer.json (--model)");
  }

  /** Calibration windows to draw from text. */
  default IntParam sequences() {
    return new IntParam(
        uid(),
        "sequences",
        "calibration windows to draw from text (--sequences)",
        ParamCheck.atLeast("sequences", 1));
  }

  /** Tokens of a window. */
  default IntParam length() {
    return new IntParam(
        uid(), "length", "tokens of a window of text (--length)", ParamCheck.atLeast("length", 1));
  }

  /** How windows are taken from text. */
  default Param<String> sampling() {
    return new Param<>(
        uid(),
        "sampling",
        "published (a random window from each drawn document) or packed (consecutive windows of"
            + " all documents) (--sampling)",
        ParamCheck.oneOf("sampling", List.of("published", "packed")));
  }

  /** Seed of the published sampling. */
  default LongParam seed() {
    return new LongParam(uid(), "seed", "seed of the published sampling (--seed)");
  }

  default String getModel() {
    return ParamCheck.required(this, model(), "the checkpoint's folder", "setModel");
  }

  default int getSequences() {
    return (Integer) getOrDefault(sequences());
  }

  default int getLength() {
    return (Integer) getOrDefault(length());
  }

  default String getSampling() {
    return getOrDefault(sampling());
  }

  default long getSeed() {
    return (Long) getOrDefault(seed());
  }
}
