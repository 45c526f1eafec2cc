package ai.owl.calibration;

import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ModelLayout;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.io.Serializable;
import java.util.List;

/**
 * What a model is shown, sample by sample in a fixed order: texts or images. A pipeline needs to
 * know no more of them than how they become the hidden states that enter the first block.
 */
public sealed interface Samples extends Serializable
    permits TokenSequences, PackedSequences, ImageSamples {
  /** Number of samples. */
  int count();

  /** Names these samples, by their content. Part of a run's fingerprint. */
  String digest() throws IOException;

  /**
   * The states that the samples [first, end) enter the first block with.
   *
   * @return one matrix (tokens, hidden) per sample, the caller's to close
   */
  List<Matrix> embed(ModelLayout model, int first, int end, TensorReader reader) throws IOException;
}
