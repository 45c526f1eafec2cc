package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Blas;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.List;

/**
 * What a vision transformer classifies by: {@code logits = head · norm(h_0) + bias}, where h_0 is
 * the class token's state after the last block.
 */
public final class ClassificationHead {
  private ClassificationHead() {}

  /**
   * The logits of some images.
   *
   * @param hidden for each image the states after the last block, (1 + patches, hidden); not
   *     changed
   * @return for each image (labels)
   */
  public static float[][] logits(ModelLayout model, List<Matrix> hidden, TensorReader reader)
      throws IOException {
    Norm norm = Norm.load(model.config(), model.finalNorm().get(0), reader);
    float[] bias = reader.readVector(model.part(ModelPart.HEAD_BIAS).orElseThrow());
    float[][] logits = new float[hidden.size()][bias.length];
    try (Matrix weights = reader.readMatrix(model.head());
        Matrix state = new Matrix(1, model.config().hiddenSize());
        Matrix product = new Matrix(1, bias.length)) {
      for (int image = 0; image < logits.length; image++) {
        norm.apply(hidden.get(image).firstRows(1), state);
        Blas.linear(state, weights, 0f, product);
        product.row(0, logits[image]);
        for (int label = 0; label < bias.length; label++) {
          logits[image][label] += bias[label];
        }
      }
    }
    return logits;
  }
}
