package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.LayerNorm;
import ai.owl.kernel.RmsNorm;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.Arrays;

/**
 * A norm with its weights in memory.
 *
 * @param gain (width)
 * @param bias (width); not looked at by a norm whose kind has none
 */
record Norm(NormKind kind, float epsilon, float[] gain, float[] bias) {

  static Norm load(ModelConfig config, NormLayer layer, TensorReader reader) throws IOException {
    return new Norm(
        config.norm(),
        config.normEpsilon(),
        gain(config.norm(), layer, reader),
        layer.bias().isEmpty() ? new float[layer.width()] : reader.readVector(layer.bias().get(0)));
  }

  private static float[] gain(NormKind kind, NormLayer layer, TensorReader reader)
      throws IOException {
    if (layer.gain().isEmpty()) {
      float[] ones = new float[layer.width()];
      Arrays.fill(ones, 1f);
      return ones;
    }
    float[] gain = reader.readVector(layer.gain().get(0));
    if (kind == NormKind.RMS_NORM_AROUND_ONE) {
      for (int j = 0; j < gain.length; j++) {
        gain[j] += 1;
      }
    }
    return gain;
  }

  /**
   * Normalizes every {@code width} features of every row.
   *
   * @param out shaped as {@code x}; may be {@code x} itself
   */
  void apply(Matrix x, Matrix out) {
    switch (kind) {
      case RMS_NORM, RMS_NORM_AROUND_ONE -> RmsNorm.apply(x, gain, epsilon, out);
      case LAYER_NORM -> LayerNorm.apply(x, gain, bias, epsilon, out);
    }
  }
}
