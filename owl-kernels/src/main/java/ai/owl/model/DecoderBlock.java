package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Blas;
import ai.owl.kernel.CausalAttention;
import ai.owl.kernel.RmsNorm;
import ai.owl.kernel.SwiGlu;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.EnumMap;
import java.util.Map;

/**
 * One decoder block with its weights in memory, as float32:
 *
 * <pre>
 * h ← h + o_proj(attention(rope(q_proj(n)), rope(k_proj(n)), v_proj(n)))     n = norm(h)
 * h ← h + down_proj(silu(gate_proj(n)) · up_proj(n))                         n = norm(h)
 * </pre>
 *
 * Any number of threads may run sequences through it at once, each with its own {@link
 * ForwardBuffers}; pruning it, which changes its weights, needs it alone.
 */
public final class DecoderBlock implements AutoCloseable {
  private final ModelConfig config;
  private final BlockLayout layout;
  private final Map<LinearRole, Matrix> weights = new EnumMap<>(LinearRole.class);
  private final Map<LinearRole, float[]> biases = new EnumMap<>(LinearRole.class);
  private float[] attentionNorm; // (hidden)
  private float[] mlpNorm; // (hidden)

  private DecoderBlock(ModelConfig config, BlockLayout layout) {
    this.config = config;
    this.layout = layout;
  }

  /** Reads a block from storage. */
  public static DecoderBlock load(ModelConfig config, BlockLayout layout, TensorReader reader)
      throws IOException {
    DecoderBlock block = new DecoderBlock(config, layout);
    try {
      for (LinearLayer linear : layout.linears()) {
        block.weights.put(linear.role(), reader.readMatrix(linear.weight()));
        if (!linear.bias().isEmpty()) {
          block.biases.put(linear.role(), reader.readVector(linear.bias().get(0)));
        }
      }
      block.attentionNorm = reader.readVector(layout.attentionNorm());
      block.mlpNorm = reader.readVector(layout.mlpNorm());
      return block;
    } catch (IOException | RuntimeException | Error e) {
      block.close();
      throw e;
    }
  }

  public BlockLayout layout() {
    return layout;
  }

  /** The weight of a linear layer, (out_features, in_features); still the block's. */
  public Matrix weight(LinearLayer linear) {
    return weights.get(linear.role());
  }

  /**
   * Runs a sequence through the block.
   *
   * @param hidden (tokens, hidden), replaced by the hidden states after the block
   */
  public void advance(Matrix hidden, ForwardBuffers buffers, ActivationObserver observer) {
    ForwardBuffers.Views at = buffers.of((int) hidden.rows());
    attend(hidden, at, observer);
    linear(LinearRole.O_PROJ, at.attended(), 1f, hidden);
    activate(hidden, at, observer);
    linear(LinearRole.DOWN_PROJ, at.gate(), 1f, hidden);
  }

  /**
   * Shows the observer what {@link #advance} would, leaves the hidden states as they are, and
   * computes no product whose result nobody sees.
   */
  public void observe(Matrix hidden, ForwardBuffers buffers, ActivationObserver observer) {
    ForwardBuffers.Views at = buffers.of((int) hidden.rows());
    attend(hidden, at, observer);
    at.residual().set(hidden);
    linear(LinearRole.O_PROJ, at.attended(), 1f, at.residual());
    activate(at.residual(), at, observer);
  }

  /**
   * Runs the next tokens of a sequence through the block, the ones before them being in the cache.
   *
   * @param hidden (tokens, hidden), replaced by the hidden states after the block
   */
  public void extend(Matrix hidden, ForwardBuffers buffers, KeyValueCache cache) {
    ForwardBuffers.Views at = buffers.of((int) hidden.rows());
    RmsNorm.apply(hidden, attentionNorm, config.normEpsilon(), at.normed());
    linear(LinearRole.Q_PROJ, at.normed(), 0f, at.q());
    linear(LinearRole.K_PROJ, at.normed(), 0f, at.k());
    linear(LinearRole.V_PROJ, at.normed(), 0f, at.v());
    int past = cache.length();
    cache.rotations().rotate(at.q(), past);
    cache.rotations().rotate(at.k(), past);
    cache.append(at.k(), at.v());
    attention().apply(at.q(), cache.keys(), cache.values(), past, cache.scores(), at.attended());
    linear(LinearRole.O_PROJ, at.attended(), 1f, hidden);
    activate(hidden, at, ActivationObserver.NONE);
    linear(LinearRole.DOWN_PROJ, at.gate(), 1f, hidden);
  }

  private CausalAttention attention() {
    return new CausalAttention(
        config.heads(), config.keyValueHeads(), config.headDim(), config.slidingWindow());
  }

  /** Everything up to o_proj's input. */
  private void attend(Matrix hidden, ForwardBuffers.Views at, ActivationObserver observer) {
    RmsNorm.apply(hidden, attentionNorm, config.normEpsilon(), at.normed());
    observer.observe(LinearInput.ATTENTION, at.normed());
    linear(LinearRole.Q_PROJ, at.normed(), 0f, at.q());
    linear(LinearRole.K_PROJ, at.normed(), 0f, at.k());
    linear(LinearRole.V_PROJ, at.normed(), 0f, at.v());
    at.rotations().rotate(at.q());
    at.rotations().rotate(at.k());
    attention().apply(at.q(), at.k(), at.v(), at.scores(), at.attended());
    observer.observe(LinearInput.ATTENTION_OUTPUT, at.attended());
  }

  /** Everything up to down_proj's input. */
  private void activate(Matrix hidden, ForwardBuffers.Views at, ActivationObserver observer) {
    RmsNorm.apply(hidden, mlpNorm, config.normEpsilon(), at.normed());
    observer.observe(LinearInput.MLP, at.normed());
    linear(LinearRole.GATE_PROJ, at.normed(), 0f, at.gate());
    linear(LinearRole.UP_PROJ, at.normed(), 0f, at.up());
    SwiGlu.apply(at.gate(), at.up());
    observer.observe(LinearInput.MLP_OUTPUT, at.gate());
  }

  private void linear(LinearRole role, Matrix x, float beta, Matrix out) {
    Blas.linear(x, weights.get(role), beta, out);
    float[] bias = biases.get(role);
    if (bias != null) {
      float[] row = new float[bias.length];
      for (long r = 0; r < out.rows(); r++) {
        out.row(r, row);
        for (int j = 0; j < row.length; j++) {
          row[j] += bias[j];
        }
        out.setRow(r, row);
      }
    }
  }

  @Override
  public void close() {
    weights.values().forEach(Matrix::close);
    weights.clear();
  }
}
