package ai.owl.evaluation;

import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.ModelLayout;
import ai.owl.model.TokenEmbedding;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Measures perplexity in this process: all windows through one block after the other, so that each
 * block is read once.
 */
public final class PerplexityEvaluator {
  private PerplexityEvaluator() {}

  /**
   * The perplexity of a model over windows of tokens.
   *
   * @param windows at least two tokens each
   * @param afterBlock told the index of each block that is done
   */
  public static Perplexity evaluate(
      ModelLayout model, TokenSequences windows, TensorReader reader, IntConsumer afterBlock)
      throws IOException {
    List<int[]> ids = windows.sequences();
    List<Matrix> hidden = TokenEmbedding.embed(model, ids, reader);
    try (ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          for (Matrix states : hidden) {
            block.advance(states, buffers, ActivationObserver.NONE);
          }
        }
        afterBlock.accept(layout.index());
      }
      double[] losses = LanguageModelHead.losses(model, hidden, ids, reader);
      return Perplexity.of(losses, windows.tokens());
    } finally {
      hidden.forEach(Matrix::close);
    }
  }
}
