package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.kernel.Blas;
import ai.owl.kernel.SoftCap;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * What turns the states after the last block into logits: the last norm and the projection onto the
 * vocabulary, {@code logits = head · project_out · norm(h)}, without norm or project_out where the
 * model has none, and softly bounded where it bounds them.
 *
 * <p>Losses are computed from the checkpoint, slice by slice of the vocabulary with a running
 * log-sum-exp, so that neither the projection nor the logits are ever in memory as a whole.
 * Generating text wants both again and again: for that, an instance holds the weights.
 */
public final class LanguageModelHead implements AutoCloseable {
  private static final int SLICE_WEIGHTS = 1 << 24; // 64 MiB as float32

  private final Optional<Norm> norm;
  private final Optional<Matrix> projectOut; // (embedding size, hidden)
  private final Matrix weights; // (vocab_size, embedding size)
  private final float logitCap;

  private LanguageModelHead(
      Optional<Norm> norm, Optional<Matrix> projectOut, Matrix weights, float logitCap) {
    this.logitCap = logitCap;
    this.norm = norm;
    this.projectOut = projectOut;
    this.weights = weights;
  }

  /** Reads all of it into memory. */
  public static LanguageModelHead load(ModelLayout model, TensorReader reader) throws IOException {
    Optional<Norm> norm = norm(model, reader);
    Optional<Matrix> projectOut = projectOut(model, reader);
    try {
      return new LanguageModelHead(
          norm, projectOut, reader.readMatrix(model.head()), model.config().logitCap());
    } catch (IOException | RuntimeException | Error e) {
      projectOut.ifPresent(Matrix::close);
      throw e;
    }
  }

  private static Optional<Norm> norm(ModelLayout model, TensorReader reader) throws IOException {
    return model.finalNorm().isEmpty()
        ? Optional.empty()
        : Optional.of(Norm.load(model.config(), model.finalNorm().get(0), reader));
  }

  private static Optional<Matrix> projectOut(ModelLayout model, TensorReader reader)
      throws IOException {
    Optional<TensorRef> tensor = model.part(ModelPart.PROJECT_OUT);
    return tensor.isEmpty() ? Optional.empty() : Optional.of(reader.readMatrix(tensor.get()));
  }

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
    List<Matrix> predicting = new ArrayList<>();
    List<int[]> rows = new ArrayList<>();
    List<int[]> targets = new ArrayList<>();
    for (int s = 0; s < hidden.size(); s++) {
      int[] ids = sequences.get(s);
      predicting.add(hidden.get(s).firstRows(ids.length - 1));
      rows.add(IntStream.range(0, ids.length - 1).toArray());
      targets.add(Arrays.copyOfRange(ids, 1, ids.length));
    }
    List<double[]> predictions = logProbabilities(model, predicting, rows, targets, reader);
    double[] losses = new double[hidden.size()];
    for (int s = 0; s < losses.length; s++) {
      double total = 0;
      for (double logProbability : predictions.get(s)) {
        total -= logProbability;
      }
      losses[s] = total / predictions.get(s).length;
    }
    return losses;
  }

  /**
   * The log-probabilities of tokens, {@code ln p(target | the states of a row)}.
   *
   * @param hidden states after the last block, (rows, hidden) each; only rows that predict
   *     something, since the projection is computed for all of them; normalized in place
   * @param rows for each matrix, and each prediction from it, the row it is made from
   * @param targets the same predictions' token ids
   * @return for each matrix those of its predictions, in nats
   */
  public static List<double[]> logProbabilities(
      ModelLayout model,
      List<Matrix> hidden,
      List<int[]> rows,
      List<int[]> targets,
      TensorReader reader)
      throws IOException {
    Optional<Norm> norm = norm(model, reader);
    norm.ifPresent(last -> hidden.forEach(states -> last.apply(states, states)));
    Optional<Matrix> projection = projectOut(model, reader);
    if (projection.isEmpty()) {
      return logProbabilitiesOfProjected(model, hidden, rows, targets, reader);
    }
    List<Matrix> narrow = new ArrayList<>();
    try (Matrix weight = projection.get()) {
      for (Matrix states : hidden) {
        Matrix projected = new Matrix(states.rows(), model.config().embeddingSize());
        narrow.add(projected);
        Blas.linear(states, weight, 0f, projected);
      }
      return logProbabilitiesOfProjected(model, narrow, rows, targets, reader);
    } finally {
      narrow.forEach(Matrix::close);
    }
  }

  /**
   * @param hidden what enters the head, (rows, embedding size)
   */
  private static List<double[]> logProbabilitiesOfProjected(
      ModelLayout model,
      List<Matrix> hidden,
      List<int[]> rows,
      List<int[]> targets,
      TensorReader reader)
      throws IOException {
    ModelConfig config = model.config();
    long most = 0;
    double[][] max = new double[hidden.size()][];
    double[][] sum = new double[hidden.size()][];
    List<double[]> logProbabilities = new ArrayList<>(); // the targets' logits at first
    for (int s = 0; s < hidden.size(); s++) {
      int count = (int) hidden.get(s).rows();
      most = Math.max(most, count);
      max[s] = new double[count];
      Arrays.fill(max[s], Double.NEGATIVE_INFINITY);
      sum[s] = new double[count];
      logProbabilities.add(new double[targets.get(s).length]);
    }
    int slice =
        (int) Math.max(64, Math.min(config.vocabSize(), SLICE_WEIGHTS / config.embeddingSize()));
    for (long first = 0; first < config.vocabSize(); first += slice) {
      int size = (int) Math.min(slice, config.vocabSize() - first);
      try (Matrix weights = reader.readMatrix(model.head(), first, size);
          Matrix logits = new Matrix(most, size)) {
        float[] row = new float[size];
        for (int s = 0; s < hidden.size(); s++) {
          Matrix states = hidden.get(s);
          Blas.linear(states, weights, 0f, logits.firstRows(states.rows()));
          for (int t = 0; t < max[s].length; t++) {
            logits.row(t, row);
            bound(row, config.logitCap());
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
          float[] one = new float[1];
          for (int i = 0; i < targets.get(s).length; i++) {
            int target = targets.get(s)[i];
            if (target >= first && target < first + size) {
              logits.copyTo(rows.get(s)[i], (int) (target - first), one, 0, 1);
              bound(one, config.logitCap());
              logProbabilities.get(s)[i] = one[0];
            }
          }
        }
      }
    }
    for (int s = 0; s < hidden.size(); s++) {
      double[] predictions = logProbabilities.get(s);
      for (int i = 0; i < predictions.length; i++) {
        int row = rows.get(s)[i];
        predictions[i] -= max[s][row] + Math.log(sum[s][row]);
      }
    }
    return logProbabilities;
  }

  /**
   * The logits of the token after the last one, (vocab_size).
   *
   * @param hidden (tokens, hidden) after the last block; not changed
   */
  public float[] nextLogits(Matrix hidden) {
    try (Matrix last = new Matrix(1, hidden.cols());
        Matrix narrow = new Matrix(1, weights.cols());
        Matrix logits = new Matrix(1, (int) weights.rows())) {
      float[] row = new float[hidden.cols()];
      hidden.row(hidden.rows() - 1, row);
      last.setRow(0, row);
      norm.ifPresent(n -> n.apply(last, last));
      projectOut.ifPresent(projection -> Blas.linear(last, projection, 0f, narrow));
      Blas.linear(projectOut.isPresent() ? narrow : last, weights, 0f, logits);
      float[] all = logits.toArray();
      bound(all, logitCap);
      return all;
    }
  }

  private static void bound(float[] logits, float cap) {
    if (cap > 0) {
      for (int i = 0; i < logits.length; i++) {
        logits[i] = SoftCap.of(logits[i], cap);
      }
    }
  }

  @Override
  public void close() {
    projectOut.ifPresent(Matrix::close);
    weights.close();
  }
}
