package ai.owl.benchmark;

/** The sizes of a model's block and of the sequence that runs through it. */
public enum ModelShape {
  /** LLaMA-7B with its full context, which the papers calibrate with. */
  LLAMA_7B(2048, 4096, 11008, 32, 1L << 30),

  /** Small enough to see in seconds that everything still works; its speeds say nothing. */
  SMOKE(96, 256, 640, 4, 1L << 24);

  final int tokens;
  final int hidden;
  final int intermediate;
  final int heads;

  /** Bytes that are read through to measure the memory: more than caches hold. */
  final long readBytes;

  ModelShape(int tokens, int hidden, int intermediate, int heads, long readBytes) {
    this.tokens = tokens;
    this.hidden = hidden;
    this.intermediate = intermediate;
    this.heads = heads;
    this.readBytes = readBytes;
  }

  int headDim() {
    return hidden / heads;
  }

  /** Weights of the block's linear layers. */
  long weights() {
    return 4L * hidden * hidden + 3L * hidden * intermediate;
  }

  /** Operations of the two products of causal attention, masked scores left out. */
  double attentionFlops() {
    return 4.0 * hidden * tokens * (tokens + 1) / 2;
  }
}
