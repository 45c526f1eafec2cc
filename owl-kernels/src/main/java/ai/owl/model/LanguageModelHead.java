package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Blas;
import ai.owl.kernel.RmsNorm;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/**
 * The last norm and the projection onto the vocabulary, as far as next-token losses need it. The
 * projection is read and multiplied in slices of the vocabulary with a running log-sum-exp, so that
 * neither it nor the logits are ever in memory as a whole.
 */
public final class LanguageModelHead {
  private static final int SLICE_WEIGHTS = 1 << 24; // 64 MiB as float32

  private LanguageModelHead() {}

  /**
   * The mean cross-entropy of predicting each token but the first from those before it: {@code
   * mean_t −ln p(id_t+1 | id_0..id_t)}.
   *
   * @param hidden for each sequence the states after the last block, (tokens, hidden); normalized
   *     in place
   * @param sequences the token ids, at least two each
   * @return one loss a sequence, in nats per predicted token
   */
  public static double[] losses(
      ModelLayout model, List<Matrix> hidden, List<int[]> sequences, TensorReader reader)
      throws IOException {
    ModelConfig config = model.config();
    float[] gain = reader.readVector(model.finalNorm());
    int longest = 0;
    double[][] max = new double[hidden.size()][];
    double[][] sum = new double[hidden.size()][];
    double[][] target = new double[hidden.size()][];
    for (int s = 0; s < hidden.size(); s++) {
      RmsNorm.apply(hidden.get(s), gain, config.normEpsilon(), hidden.get(s));
      int predictions = sequences.get(s).length - 1;
      longest = Math.max(longest, predictions);
      max[s] = new double[predictions];
      Arrays.fill(max[s], Double.NEGATIVE_INFINITY);
      sum[s] = new double[predictions];
      target[s] = new double[predictions];
    }
    int slice =
        (int) Math.max(64, Math.min(config.vocabSize(), SLICE_WEIGHTS / config.hiddenSize()));
    for (long first = 0; first < config.vocabSize(); first += slice) {
      int size = (int) Math.min(slice, config.vocabSize() - first);
      try (Matrix weights = reader.readMatrix(model.head(), first, size);
          Matrix logits = new Matrix(longest, size)) {
        float[] row = new float[size];
        for (int s = 0; s < hidden.size(); s++) {
          int[] ids = sequences.get(s);
          Matrix states = hidden.get(s).firstRows(ids.length - 1);
          Blas.linear(states, weights, 0f, logits.firstRows(ids.length - 1));
          for (int t = 0; t < ids.length - 1; t++) {
            logits.row(t, row);
            int next = ids[t + 1];
            if (next >= first && next < first + size) {
              target[s][t] = row[(int) (next - first)];
            }
            double above = max[s][t];
            for (float logit : row) {
              above = Math.max(above, logit);
            }
            double total = sum[s][t] * Math.exp(max[s][t] - above);
            for (float logit : row) {
              total += Math.exp(logit - above);
            }
            max[s][t] = above;
            sum[s][t] = total;
          }
        }
      }
    }
    double[] losses = new double[hidden.size()];
    for (int s = 0; s < losses.length; s++) {
      double total = 0;
      for (int t = 0; t < max[s].length; t++) {
        total += max[s][t] + Math.log(sum[s][t]) - target[s][t];
      }
      losses[s] = total / max[s].length;
    }
    return losses;
  }

  /**
   * The logits of the token after the last one.
   *
   * @param weights the whole projection, (vocab_size, hidden)
   * @param gain of the last norm, (hidden)
   * @param hidden (tokens, hidden) after the last block; not changed
   */
  public static float[] nextLogits(
      ModelConfig config, Matrix weights, float[] gain, Matrix hidden) {
    try (Matrix last = new Matrix(1, hidden.cols());
        Matrix logits = new Matrix(1, config.vocabSize())) {
      float[] row = new float[hidden.cols()];
      hidden.row(hidden.rows() - 1, row);
      last.setRow(0, row);
      RmsNorm.apply(last, gain, config.normEpsilon(), last);
      Blas.linear(last, weights, 0f, logits);
      return logits.toArray();
    }
  }
}
