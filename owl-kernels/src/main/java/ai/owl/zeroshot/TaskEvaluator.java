package ai.owl.zeroshot;

import ai.owl.calibration.PackedSequences;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.ModelLayout;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Runs packed sequences through a model in this process: all batches through one block after the
 * other, so that each block is read once.
 */
public final class TaskEvaluator {
  private TaskEvaluator() {}

  /**
   * The log-probabilities of everything that is to be predicted.
   *
   * @param afterBlock told the index of each block that is done
   * @return for every batch those of its predictions
   */
  public static List<double[]> logProbabilities(
      ModelLayout model, PackedSequences sequences, TensorReader reader, IntConsumer afterBlock)
      throws IOException {
    List<Matrix> hidden = sequences.embed(model, 0, sequences.count(), reader);
    List<Matrix> predicting = new ArrayList<>();
    try (ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          for (int i = 0; i < hidden.size(); i++) {
            block.advance(hidden.get(i), sequences.packing(i), buffers, ActivationObserver.NONE);
          }
        }
        afterBlock.accept(layout.index());
      }
      for (int i = 0; i < hidden.size(); i++) {
        predicting.add(sequences.predicting(i, hidden.get(i)));
        hidden.get(i).close();
      }
      hidden.clear();
      return LanguageModelHead.logProbabilities(
          model,
          predicting,
          IntStream.range(0, sequences.count()).mapToObj(sequences::sources).toList(),
          IntStream.range(0, sequences.count()).mapToObj(sequences::targets).toList(),
          reader);
    } finally {
      hidden.forEach(Matrix::close);
      predicting.forEach(Matrix::close);
    }
  }
}
