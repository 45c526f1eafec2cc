package ai.owl.model;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.TensorRef;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The addresses of a whole model: its blocks, and what stands before and after them. Making one
 * checks that every tensor the forward pass needs is there, with the shape that {@code config.json}
 * implies and a type that can be computed with.
 *
 * @param embedding (vocab_size, hidden_size)
 * @param finalNorm (hidden_size)
 * @param head (vocab_size, hidden_size); the embedding itself where the two are tied
 * @param outside all tensors that belong to no block, in checkpoint order
 */
public record ModelLayout(
    ModelConfig config,
    TensorRef embedding,
    TensorRef finalNorm,
    TensorRef head,
    List<BlockLayout> blocks,
    List<TensorRef> outside)
    implements Serializable {
  public ModelLayout {
    blocks = List.copyOf(blocks);
    outside = List.copyOf(outside);
  }

  /**
   * Finds the parts of a model in a checkpoint.
   *
   * @throws MalformedCheckpointException if a tensor is missing, or has another shape or type than
   *     the model needs
   */
  public static ModelLayout of(Checkpoint checkpoint) {
    ModelConfig config = ModelConfig.parse(checkpoint.config(), checkpoint.folder());
    Architecture names = config.architecture();
    TensorRef embedding =
        require(checkpoint, names.embedding(), config.vocabSize(), config.hiddenSize());
    TensorRef finalNorm = require(checkpoint, names.finalNorm(), config.hiddenSize());
    // A tied checkpoint may still carry a head. If it is no copy of the embedding, transformers 5
    // does not tie; so the head is used wherever there is one.
    TensorRef head =
        config.tiedEmbeddings() && !checkpoint.tensors().containsKey(names.languageModelHead())
            ? embedding
            : require(
                checkpoint, names.languageModelHead(), config.vocabSize(), config.hiddenSize());

    List<BlockLayout> blocks = new ArrayList<>();
    Set<String> inBlocks = new HashSet<>();
    Map<Integer, List<TensorRef>> byBlock = groupByBlock(checkpoint, config);
    for (int i = 0; i < config.blocks(); i++) {
      BlockLayout block = block(checkpoint, config, i, byBlock.getOrDefault(i, List.of()));
      blocks.add(block);
      block.tensors().forEach(tensor -> inBlocks.add(tensor.name()));
    }
    String beyond = names.blockPrefix(config.blocks()) + names.linears().get(0).path() + ".weight";
    if (checkpoint.tensors().containsKey(beyond)) {
      throw new MalformedCheckpointException(
          "Cannot use model "
              + checkpoint.folder()
              + ": num_hidden_layers is "
              + config.blocks()
              + " (config.json), but there is a "
              + beyond);
    }
    List<TensorRef> outside =
        checkpoint.tensors().values().stream()
            .filter(tensor -> !inBlocks.contains(tensor.name()))
            .toList();
    return new ModelLayout(config, embedding, finalNorm, head, blocks, outside);
  }

  /** Number of weights in the linear layers of all blocks: what a sparsity is a share of. */
  public long prunableWeights() {
    return blocks.stream().mapToLong(BlockLayout::prunableWeights).sum();
  }

  private static Map<Integer, List<TensorRef>> groupByBlock(
      Checkpoint checkpoint, ModelConfig config) {
    Map<Integer, List<TensorRef>> groups = new java.util.HashMap<>();
    String any = config.architecture().blockPrefix(0);
    String before = any.substring(0, any.indexOf("0."));
    for (TensorRef tensor : checkpoint.tensors().values()) {
      if (tensor.name().startsWith(before)) {
        int dot = tensor.name().indexOf('.', before.length());
        String number = dot < 0 ? "" : tensor.name().substring(before.length(), dot);
        if (number.matches("0|[1-9][0-9]{0,5}")) {
          groups.computeIfAbsent(Integer.parseInt(number), i -> new ArrayList<>()).add(tensor);
        }
      }
    }
    return groups;
  }

  private static BlockLayout block(
      Checkpoint checkpoint, ModelConfig config, int index, List<TensorRef> tensors) {
    String prefix = config.architecture().blockPrefix(index);
    List<LinearLayer> linears = new ArrayList<>();
    for (LinearRole role : config.architecture().linears()) {
      String name = prefix + role.path();
      TensorRef weight =
          require(checkpoint, name + ".weight", config.outFeatures(role), config.inFeatures(role));
      List<TensorRef> bias =
          config.hasBias(role)
              ? List.of(require(checkpoint, name + ".bias", config.outFeatures(role)))
              : List.of();
      if (bias.isEmpty() && checkpoint.tensors().containsKey(name + ".bias")) {
        throw new MalformedCheckpointException(
            "Cannot use model "
                + checkpoint.folder()
                + ": it has "
                + name
                + ".bias, but config.json does not say that there are"
                + " biases");
      }
      linears.add(new LinearLayer(name, role, weight, bias));
    }
    return new BlockLayout(
        index,
        linears,
        require(checkpoint, prefix + config.architecture().attentionNorm(), config.hiddenSize()),
        require(checkpoint, prefix + config.architecture().mlpNorm(), config.hiddenSize()),
        tensors);
  }

  private static TensorRef require(Checkpoint checkpoint, String name, long... shape) {
    TensorRef tensor = checkpoint.tensor(name);
    List<Long> expected = java.util.Arrays.stream(shape).boxed().toList();
    if (!tensor.shape().equals(expected)) {
      throw new MalformedCheckpointException(
          "Cannot use "
              + name
              + " of "
              + tensor.file()
              + ": its shape is "
              + tensor.shape()
              + ", but config.json implies "
              + expected);
    }
    if (!tensor.type().isComputable()) {
      throw new MalformedCheckpointException(
          "Cannot use "
              + name
              + " of "
              + tensor.file()
              + ": its type is "
              + tensor.type()
              + "; supported are F32, F16 and BF16");
    }
    return tensor;
  }
}
