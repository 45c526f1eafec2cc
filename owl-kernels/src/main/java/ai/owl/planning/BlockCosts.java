package ai.owl.planning;

import ai.owl.model.LinearInput;
import ai.owl.model.LinearRole;
import ai.owl.model.ModelConfig;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;

/**
 * What one decoder block costs, by its shapes alone. A multiplication and an addition are two
 * flops; tokens are those of one sequence.
 *
 * @param config of the network
 */
public record BlockCosts(ModelConfig config) {

  /** Weights of the linear layers: {@code Σ out · in}. */
  public long weights() {
    return linears().stream().mapToLong(this::weights).sum();
  }

  private Set<LinearRole> linears() {
    return config.architecture().linears().keySet();
  }

  private long weights(LinearRole role) {
    return (long) config.outFeatures(role) * config.inFeatures(role);
  }

  /** Flops of all linear layers: {@code 2 · weights · tokens}. */
  public double linearFlops(int tokens) {
    return 2.0 * weights() * tokens;
  }

  /** Flops of the linear layers but down_proj, whose output no statistics need. */
  public double observedLinearFlops(int tokens) {
    return 2.0 * (weights() - weights(LinearRole.DOWN_PROJ)) * tokens;
  }

  /** Pairs of a query and a key that it sees: of causal attention {@code t · (t + 1) / 2}. */
  public double attentionPairs(int block, int tokens) {
    if (!config.isCausal()) {
      return (double) tokens * tokens;
    }
    int window = config.slidingWindow(block);
    double all = tokens * (tokens + 1.0) / 2;
    double unseen = tokens - window; // queries with keys beyond their window
    return window == 0 || unseen <= 0 ? all : all - unseen * (unseen + 1) / 2;
  }

  /** Flops of scores and of the mixing of values: {@code 4 · heads · headDim · pairs}. */
  public double attentionFlops(int block, int tokens) {
    return 4.0 * config.heads() * config.headDim() * attentionPairs(block, tokens);
  }

  /**
   * Values that pass through norms, rotations and the activation: {@code (2 · hidden + (heads +
   * keyValueHeads) · headDim + intermediate) · tokens}.
   */
  public double elementwiseValues(int tokens) {
    double attention = (double) (config.heads() + config.keyValueHeads()) * config.headDim();
    return (2.0 * config.hiddenSize() + attention + config.intermediateSize()) * tokens;
  }

  /** Width of each input of linear layers. */
  public Map<LinearInput, Integer> inputs() {
    Map<LinearInput, Integer> widths = new EnumMap<>(LinearInput.class);
    linears().forEach(role -> widths.put(role.input(), config.inFeatures(role)));
    return widths;
  }

  /** Values whose squares are summed for the column norms. */
  public double observedValues(int tokens) {
    return (double) inputs().values().stream().mapToInt(Integer::intValue).sum() * tokens;
  }

  /** Flops of the upper triangles of the Gram matrices: {@code Σ n² · tokens} over the inputs. */
  public double gramFlops(int tokens) {
    return inputs().values().stream().mapToDouble(n -> (double) n * n * tokens).sum();
  }

  /** Bytes of the Gram matrices of all inputs in memory: {@code Σ 4 · n²}. */
  public long gramBytes() {
    return inputs().values().stream().mapToLong(n -> 4L * n * n).sum();
  }

  /**
   * Bytes that one group of sequences sends for the Gram matrices: of each input {@code 4 · n · (n
   * + 1) / 2}.
   */
  public long gramBytesSent() {
    return inputs().values().stream().mapToLong(BlockCosts::gramBytesSent).sum();
  }

  /** Of an input of so many features. */
  static long gramBytesSent(int n) {
    return 2L * n * (n + 1);
  }

  /** Bytes of the hidden states of a sequence, in float32. */
  public long hiddenBytes(int tokens) {
    return 4L * config.hiddenSize() * tokens;
  }

  /** Bytes of the column norms of a block, in float64. */
  public long statisticsBytes() {
    return 8L * inputs().values().stream().mapToInt(Integer::intValue).sum();
  }
}
