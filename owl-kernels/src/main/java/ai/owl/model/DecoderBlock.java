package ai.owl.model;

import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Attention;
import ai.owl.kernel.LinearWeights;
import ai.owl.kernel.Operand;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;

/**
 * One decoder block with its weights in memory. Where norms stand on the way in:
 *
 * <pre>
 * h ← h + o_proj(attention(rotate(norm(q_proj(n))), rotate(norm(k_proj(n))), v_proj(n)))  n = norm(h)
 * h ← h + down_proj(f(gate_proj(n)) · up_proj(n))                                         n = norm(h)
 * </pre>
 *
 * <p>Where they stand on the sums, {@code n = h}, and h is replaced by {@code norm(h)} after each
 * of the two; there may be norms of what o_proj and down_proj give, too. An architecture may do
 * without the rotation, the norms of queries and keys, and the gate: then the second line is {@code
 * h + down_proj(f(up_proj(n)))}. The encoder blocks of a vision transformer are the same, with
 * attention to both sides.
 *
 * <p>Any number of threads may run sequences through it at once, each with its own {@link
 * ForwardBuffers}; pruning it, which changes its weights, needs it alone.
 */
public final class DecoderBlock implements AutoCloseable {
  private final ModelConfig config;
  private final BlockLayout layout;
  private final Map<LinearRole, LinearWeights> weights = new EnumMap<>(LinearRole.class);

  /** By role the weights themselves, and in place of a fused one the rows of its parts. */
  private final Map<LinearRole, LinearWeights> projections = new EnumMap<>(LinearRole.class);

  private final Map<LinearRole, float[]> biases = new EnumMap<>(LinearRole.class);
  private final Map<NormRole, Norm> norms = new EnumMap<>(NormRole.class);

  private DecoderBlock(ModelConfig config, BlockLayout layout) {
    this.config = config;
    this.layout = layout;
  }

  /** Reads a block from storage to run sequences through it. */
  public static DecoderBlock load(ModelConfig config, BlockLayout layout, TensorReader reader)
      throws IOException {
    return load(
        config,
        layout,
        reader,
        (role, weights) -> LinearWeights.of(weights, parts(config, role), config.compute()));
  }

  /** Reads a block from storage to {@link #extend} sequences token by token. */
  public static DecoderBlock loadToExtend(
      ModelConfig config, BlockLayout layout, TensorReader reader) throws IOException {
    return load(
        config,
        layout,
        reader,
        (role, weights) -> LinearWeights.ofTokens(weights, parts(config, role), config.compute()));
  }

  private static List<Integer> parts(ModelConfig config, LinearRole role) {
    return role.parts().stream().map(config::outFeatures).toList();
  }

  /**
   * Reads a block from storage to look at its weights, or to change them, and no more: as float32
   * matrices.
   */
  public static DecoderBlock loadWeights(
      ModelConfig config, BlockLayout layout, TensorReader reader) throws IOException {
    return load(config, layout, reader, (role, weights) -> LinearWeights.of(weights));
  }

  private static DecoderBlock load(
      ModelConfig config,
      BlockLayout layout,
      TensorReader reader,
      BiFunction<LinearRole, Matrix, LinearWeights> holding)
      throws IOException {
    DecoderBlock block = new DecoderBlock(config, layout);
    try {
      for (LinearLayer linear : layout.linears()) {
        block.add(linear.role(), holding.apply(linear.role(), reader.readMatrix(linear.weight())));
        if (!linear.bias().isEmpty()) {
          block.biases.put(linear.role(), reader.readVector(linear.bias().get(0)));
        }
      }
      for (Map.Entry<NormRole, NormLayer> norm : layout.norms().entrySet()) {
        block.norms.put(norm.getKey(), Norm.load(config, norm.getValue(), reader));
      }
      return block;
    } catch (IOException | RuntimeException | Error e) {
      block.close();
      throw e;
    }
  }

  private void add(LinearRole role, LinearWeights weight) {
    weights.put(role, weight);
    long row = 0;
    for (LinearRole part : role.parts()) {
      int rows = config.outFeatures(part);
      projections.put(part, part == role ? weight : weight.part(row, rows));
      row += rows;
    }
  }

  public BlockLayout layout() {
    return layout;
  }

  /**
   * The weight of a linear layer, (out_features, in_features), in float32; the caller's to close.
   * What is changed of it is the block's with {@link #replace}, and not before.
   */
  public Matrix weight(LinearLayer linear) {
    return weights.get(linear.role()).matrix();
  }

  /**
   * Gives a linear layer other weights.
   *
   * @param changed what {@link #weight} gave, with other values that the layer's checkpoint can
   *     store; only to be closed from here on
   */
  public void replace(LinearLayer linear, Matrix changed) {
    add(linear.role(), weights.get(linear.role()).replace(changed));
  }

  /**
   * Runs a sequence through the block.
   *
   * @param hidden (tokens, hidden), replaced by the hidden states after the block
   */
  public void advance(Matrix hidden, ForwardBuffers buffers, ActivationObserver observer) {
    ForwardBuffers.Views at = buffers.of((int) hidden.rows());
    attend(hidden, at, observer);
    addAttention(hidden, at);
    activate(hidden, at, observer);
    addMlp(hidden, at);
  }

  /**
   * Runs sequences that are packed into one matrix through the block.
   *
   * @param hidden (rows of the packing, hidden), replaced by the hidden states after the block
   */
  public void advance(
      Matrix hidden, SequencePacking packing, ForwardBuffers buffers, ActivationObserver observer) {
    ForwardBuffers.Views at = buffers.of((int) hidden.rows());
    Matrix normed = normalized(NormRole.ATTENTION_INPUT, hidden, at);
    observer.observe(LinearInput.ATTENTION, normed);
    project(normed, at);
    for (SequencePacking.Segment segment : packing.segments()) {
      int past = packing.past(segment);
      at.rotate(rows(at.q(), segment), past);
      at.rotate(rows(at.k(), segment), past);
    }
    for (SequencePacking.Segment segment : packing.segments()) {
      Matrix q = rows(at.q(), segment);
      Matrix k = rows(at.k(), segment);
      Matrix v = rows(at.v(), segment);
      Matrix out = rows(at.attended(), segment);
      if (segment.prefix() == SequencePacking.NO_PREFIX) {
        attention().apply(q, k, v, at.scores(), out);
      } else {
        SequencePacking.Segment prefix = packing.segments().get(segment.prefix());
        attention()
            .applyBehind(rows(at.k(), prefix), rows(at.v(), prefix), q, k, v, at.scores(), out);
      }
    }
    observer.observe(LinearInput.ATTENTION_OUTPUT, at.attended());
    addAttention(hidden, at);
    activate(hidden, at, observer);
    addMlp(hidden, at);
  }

  private static Matrix rows(Matrix all, SequencePacking.Segment segment) {
    return all.rows(segment.first(), segment.tokens());
  }

  /**
   * Shows the observer what {@link #advance} would, leaves the hidden states as they are, and
   * computes no product whose result nobody sees.
   */
  public void observe(Matrix hidden, ForwardBuffers buffers, ActivationObserver observer) {
    ForwardBuffers.Views at = buffers.of((int) hidden.rows());
    attend(hidden, at, observer);
    at.residual().set(hidden);
    addAttention(at.residual(), at);
    activate(at.residual(), at, observer);
  }

  /**
   * Runs the next tokens of a sequence through the block, the ones before them being in the cache.
   *
   * @param hidden (tokens, hidden), replaced by the hidden states after the block
   */
  public void extend(Matrix hidden, ForwardBuffers buffers, KeyValueCache cache) {
    ForwardBuffers.Views at = buffers.of((int) hidden.rows());
    int past = cache.length();
    project(normalized(NormRole.ATTENTION_INPUT, hidden, at), at);
    cache.rotate(at.q(), past);
    cache.rotate(at.k(), past);
    cache.append(at.k(), at.v());
    attention().apply(at.q(), cache.keys(), cache.values(), past, cache.scores(), at.attended());
    addAttention(hidden, at);
    activate(hidden, at, ActivationObserver.NONE);
    addMlp(hidden, at);
  }

  private Attention attention() {
    return new Attention(
        config.heads(),
        config.keyValueHeads(),
        config.headDim(),
        config.isCausal(),
        config.slidingWindow(layout.index()),
        config.attentionScale(),
        config.attentionCap());
  }

  /** Everything up to o_proj's input. */
  private void attend(Matrix hidden, ForwardBuffers.Views at, ActivationObserver observer) {
    Matrix normed = normalized(NormRole.ATTENTION_INPUT, hidden, at);
    observer.observe(LinearInput.ATTENTION, normed);
    project(normed, at);
    at.rotate(at.q());
    at.rotate(at.k());
    attention().apply(at.q(), at.k(), at.v(), at.scores(), at.attended());
    observer.observe(LinearInput.ATTENTION_OUTPUT, at.attended());
  }

  /** Queries, keys and values before they are rotated. */
  private void project(Matrix normed, ForwardBuffers.Views at) {
    Operand x = at.operand().of(normed);
    linear(LinearRole.Q_PROJ, x, false, at.q());
    linear(LinearRole.K_PROJ, x, false, at.k());
    linear(LinearRole.V_PROJ, x, false, at.v());
    normalize(NormRole.QUERY, at.q());
    normalize(NormRole.KEY, at.k());
  }

  /** Everything up to down_proj's input. */
  private void activate(Matrix hidden, ForwardBuffers.Views at, ActivationObserver observer) {
    Matrix normed = normalized(NormRole.MLP_INPUT, hidden, at);
    observer.observe(LinearInput.MLP, normed);
    Operand x = at.operand().of(normed);
    if (config.isGated()) {
      linear(LinearRole.GATE_PROJ, x, false, at.activated());
      linear(LinearRole.UP_PROJ, x, false, at.up());
      config.activation().gate(at.activated(), at.up());
    } else {
      linear(LinearRole.UP_PROJ, x, false, at.activated());
      config.activation().apply(at.activated());
    }
    observer.observe(LinearInput.MLP_OUTPUT, at.activated());
  }

  private void addAttention(Matrix hidden, ForwardBuffers.Views at) {
    add(LinearRole.O_PROJ, at.attended(), NormRole.ATTENTION_OUTPUT, hidden, at);
    normalize(NormRole.ATTENTION_SUM, hidden);
  }

  private void addMlp(Matrix hidden, ForwardBuffers.Views at) {
    add(LinearRole.DOWN_PROJ, at.activated(), NormRole.MLP_OUTPUT, hidden, at);
    normalize(NormRole.MLP_SUM, hidden);
  }

  /** Adds what a layer makes of x to the hidden states, through the norm, where there is one. */
  private void add(
      LinearRole role, Matrix x, NormRole output, Matrix hidden, ForwardBuffers.Views at) {
    Norm norm = norms.get(output);
    Operand operand = at.operand().of(x);
    if (norm == null) {
      linear(role, operand, true, hidden);
      return;
    }
    linear(role, operand, false, at.normed());
    norm.apply(at.normed(), at.normed());
    float[] row = new float[hidden.cols()];
    float[] sum = new float[hidden.cols()];
    for (long t = 0; t < hidden.rows(); t++) {
      at.normed().row(t, row);
      hidden.row(t, sum);
      for (int j = 0; j < row.length; j++) {
        sum[j] += row[j];
      }
      hidden.setRow(t, sum);
    }
  }

  /** The hidden states as they enter linear layers: through the norm, where there is one here. */
  private Matrix normalized(NormRole role, Matrix hidden, ForwardBuffers.Views at) {
    Norm norm = norms.get(role);
    if (norm == null) {
      return hidden;
    }
    norm.apply(hidden, at.normed());
    return at.normed();
  }

  /** Normalizes in place, where there is a norm here. */
  private void normalize(NormRole role, Matrix x) {
    Norm norm = norms.get(role);
    if (norm != null) {
      norm.apply(x, x);
    }
  }

  private void linear(LinearRole role, Operand x, boolean accumulate, Matrix out) {
    projections.get(role).multiply(x, accumulate, out);
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
    projections.clear();
    weights.values().forEach(LinearWeights::close);
    weights.clear();
  }
}
