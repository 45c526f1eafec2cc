package ai.owl.model;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.TensorRef;
import ai.owl.kernel.Compute;
import ai.owl.tensor.DType;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The addresses of a whole model: its blocks, and what stands before and after them. Making one
 * checks that every tensor the forward pass needs is there, with the shape that {@code config.json}
 * implies and a type that can be computed with.
 *
 * @param parts the tensors outside the blocks that the forward pass needs; where embeddings are
 *     tied, the head is the embedding itself
 * @param finalNorm the norm after the last block; empty where there is none
 * @param outside all tensors that belong to no block, in checkpoint order
 */
public record ModelLayout(
    ModelConfig config,
    Map<ModelPart, TensorRef> parts,
    List<NormLayer> finalNorm,
    List<BlockLayout> blocks,
    List<TensorRef> outside)
    implements Serializable {
  /** What transformers leaves off the names of a checkpoint that was saved without its head. */
  private static final String BASE = "model.";

  public ModelLayout {
    parts = Map.copyOf(parts);
    finalNorm = List.copyOf(finalNorm);
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
    return new Finder(checkpoint, ModelConfig.parse(checkpoint.config(), checkpoint.folder()))
        .find();
  }

  /**
   * The addresses that a model would have in one file, its tensors one behind the other: for a
   * model of which only the configuration is at hand.
   *
   * @param type of all tensors
   * @param file that they would be in; it need not exist
   */
  public static ModelLayout ofShapes(ModelConfig config, DType type, String file) {
    return new Sketch(config, type, file).draw();
  }

  /** See {@link ModelPart#TOKEN_EMBEDDING}. */
  public TensorRef embedding() {
    return parts.get(ModelPart.TOKEN_EMBEDDING);
  }

  /** See {@link ModelPart#HEAD}; the embedding itself where the two are tied. */
  public TensorRef head() {
    return parts.get(ModelPart.HEAD);
  }

  /** A tensor outside the blocks, if this model has it. */
  public Optional<TensorRef> part(ModelPart part) {
    return Optional.ofNullable(parts.get(part));
  }

  /**
   * The same, with the products of its linear layers and of attention computed in something else.
   */
  public ModelLayout computedIn(Compute compute) {
    return new ModelLayout(config.computedIn(compute), parts, finalNorm, blocks, outside);
  }

  /** The same without its blocks: all that it takes to embed and to score. */
  public ModelLayout withoutBlocks() {
    return new ModelLayout(config, parts, finalNorm, List.of(), List.of());
  }

  /** Number of weights in the linear layers of all blocks: what a sparsity is a share of. */
  public long prunableWeights() {
    return blocks.stream().mapToLong(BlockLayout::prunableWeights).sum();
  }

  /** Gives a place to the tensors that a configuration implies. */
  private static final class Sketch {
    private final ModelConfig config;
    private final DType type;
    private final String file;
    private long position;

    Sketch(ModelConfig config, DType type, String file) {
      this.config = config;
      this.type = type;
      this.file = file;
    }

    ModelLayout draw() {
      Architecture architecture = config.architecture();
      Map<ModelPart, TensorRef> parts = new EnumMap<>(ModelPart.class);
      architecture
          .parts()
          .forEach(
              (part, name) -> {
                long[] shape = config.shape(part);
                if (shape.length > 0 && !(part == ModelPart.HEAD && config.tiedEmbeddings())) {
                  parts.put(part, Finder.asMatrix(part, tensor(name, shape)));
                }
              });
      List<TensorRef> outside = new ArrayList<>(parts.values());
      parts.putIfAbsent(ModelPart.HEAD, parts.get(ModelPart.TOKEN_EMBEDDING));
      List<NormLayer> finalNorm =
          config.finalNorm()
              ? List.of(norm(architecture.finalNorm(), config.hiddenSize(), outside))
              : List.of();
      List<BlockLayout> blocks = new ArrayList<>();
      for (int i = 0; i < config.blocks(); i++) {
        blocks.add(block(i));
      }
      return new ModelLayout(config, parts, finalNorm, blocks, outside);
    }

    private BlockLayout block(int index) {
      String prefix = config.architecture().blockPrefix(index);
      List<TensorRef> tensors = new ArrayList<>();
      List<LinearLayer> linears = new ArrayList<>();
      config
          .architecture()
          .linears()
          .forEach(
              (role, path) -> {
                String name = prefix + path;
                TensorRef weight =
                    tensor(name + ".weight", config.outFeatures(role), config.inFeatures(role));
                tensors.add(weight);
                List<TensorRef> bias =
                    config.hasBias(role)
                        ? List.of(tensor(name + ".bias", config.outFeatures(role)))
                        : List.of();
                tensors.addAll(bias);
                linears.add(new LinearLayer(name, path, role, weight, bias));
              });
      Map<NormRole, NormLayer> norms = new EnumMap<>(NormRole.class);
      config
          .norms()
          .forEach(
              (role, name) -> norms.put(role, norm(prefix + name, config.width(role), tensors)));
      return new BlockLayout(index, linears, norms, tensors);
    }

    private NormLayer norm(String name, int width, List<TensorRef> tensors) {
      if (!config.normGains()) {
        return new NormLayer(name, width, List.of(), List.of());
      }
      TensorRef gain = tensor(name + ".weight", width);
      tensors.add(gain);
      if (config.norm() != NormKind.LAYER_NORM) {
        return new NormLayer(name, width, List.of(gain), List.of());
      }
      TensorRef bias = tensor(name + ".bias", width);
      tensors.add(bias);
      return new NormLayer(name, width, List.of(gain), List.of(bias));
    }

    private TensorRef tensor(String name, long... shape) {
      long bytes = type.bytes();
      for (long length : shape) {
        bytes = Math.multiplyExact(bytes, length);
      }
      TensorRef tensor =
          new TensorRef(name, file, type, Arrays.stream(shape).boxed().toList(), position, bytes);
      position += bytes;
      return tensor;
    }
  }

  /**
   * Looks tensors up by the names that an architecture has for them.
   *
   * @param isBare whether the checkpoint's names lack {@link #BASE}
   */
  private record Finder(Checkpoint checkpoint, ModelConfig config, boolean isBare) {
    Finder(Checkpoint checkpoint, ModelConfig config) {
      this(checkpoint, config, isBare(checkpoint, config));
    }

    private static boolean isBare(Checkpoint checkpoint, ModelConfig config) {
      String embedding = config.architecture().parts().get(ModelPart.TOKEN_EMBEDDING);
      return embedding != null
          && !checkpoint.tensors().containsKey(embedding)
          && checkpoint.tensors().containsKey(bare(embedding));
    }

    private static String bare(String name) {
      return name.startsWith(BASE) ? name.substring(BASE.length()) : name;
    }

    /** What the checkpoint at hand calls what the architecture calls so. */
    private String spelled(String name) {
      return isBare ? bare(name) : name;
    }

    private boolean has(String name) {
      return checkpoint.tensors().containsKey(name);
    }

    ModelLayout find() {
      Map<ModelPart, TensorRef> parts = parts();
      List<NormLayer> finalNorm =
          config.finalNorm()
              ? List.of(norm(spelled(config.architecture().finalNorm()), config.hiddenSize()))
              : List.of();
      List<BlockLayout> blocks = new ArrayList<>();
      Set<String> inBlocks = new HashSet<>();
      Map<Integer, List<TensorRef>> byBlock = groupByBlock();
      for (int i = 0; i < config.blocks(); i++) {
        BlockLayout block = block(i, byBlock.getOrDefault(i, List.of()));
        blocks.add(block);
        block.tensors().forEach(tensor -> inBlocks.add(tensor.name()));
      }
      String first = config.architecture().linears().values().iterator().next();
      String beyond = blockPrefix(config.blocks()) + first + ".weight";
      if (has(beyond)) {
        throw refused(
            "num_hidden_layers is " + config.blocks() + " (config.json), but there is a " + beyond);
      }
      List<TensorRef> outside =
          checkpoint.tensors().values().stream()
              .filter(tensor -> !inBlocks.contains(tensor.name()))
              .toList();
      return new ModelLayout(config, parts, finalNorm, blocks, outside);
    }

    private Map<ModelPart, TensorRef> parts() {
      Map<ModelPart, TensorRef> parts = new EnumMap<>(ModelPart.class);
      config
          .architecture()
          .parts()
          .forEach(
              (part, name) -> {
                long[] shape = config.shape(part);
                // A tied checkpoint may still carry a head. If it is no copy of the embedding,
                // transformers 5 does not tie; so the head is used wherever there is one.
                boolean isTied =
                    part == ModelPart.HEAD && config.tiedEmbeddings() && !has(spelled(name));
                if (shape.length > 0 && !isTied) {
                  parts.put(part, asMatrix(part, require(spelled(name), shape)));
                }
              });
      parts.putIfAbsent(ModelPart.HEAD, parts.get(ModelPart.TOKEN_EMBEDDING));
      return parts;
    }

    /** Vision transformers keep vectors and matrices with more dimensions than those have. */
    private static TensorRef asMatrix(ModelPart part, TensorRef tensor) {
      if (tensor.shape().size() < 3) {
        return tensor;
      }
      long rows = tensor.shape().get(part == ModelPart.PATCH_PROJECTION ? 0 : 1);
      return new TensorRef(
          tensor.name(),
          tensor.file(),
          tensor.type(),
          List.of(rows, tensor.elements() / rows),
          tensor.position(),
          tensor.bytes());
    }

    private String blockPrefix(int block) {
      return spelled(config.architecture().blockPrefix(block));
    }

    private Map<Integer, List<TensorRef>> groupByBlock() {
      Map<Integer, List<TensorRef>> groups = new HashMap<>();
      String any = blockPrefix(0);
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

    private BlockLayout block(int index, List<TensorRef> tensors) {
      String prefix = blockPrefix(index);
      List<LinearLayer> linears = new ArrayList<>();
      config
          .architecture()
          .linears()
          .forEach((role, path) -> linears.add(linear(prefix + path, path, role)));
      Map<NormRole, NormLayer> norms = new EnumMap<>(NormRole.class);
      config
          .norms()
          .forEach((role, name) -> norms.put(role, norm(prefix + name, config.width(role))));
      return new BlockLayout(index, linears, norms, tensors);
    }

    private LinearLayer linear(String name, String path, LinearRole role) {
      TensorRef weight =
          require(name + ".weight", config.outFeatures(role), config.inFeatures(role));
      List<TensorRef> bias =
          config.hasBias(role)
              ? List.of(require(name + ".bias", config.outFeatures(role)))
              : List.of();
      if (bias.isEmpty() && has(name + ".bias")) {
        throw refused(
            "it has " + name + ".bias, but config.json does not say that there are biases");
      }
      return new LinearLayer(name, path, role, weight, bias);
    }

    private NormLayer norm(String name, int width) {
      if (!config.normGains()) {
        return new NormLayer(name, width, List.of(), List.of());
      }
      return new NormLayer(
          name,
          width,
          List.of(require(name + ".weight", width)),
          config.norm() == NormKind.LAYER_NORM
              ? List.of(require(name + ".bias", width))
              : List.of());
    }

    private TensorRef require(String name, long... shape) {
      TensorRef tensor = checkpoint.tensor(name);
      List<Long> expected = Arrays.stream(shape).boxed().toList();
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

    private MalformedCheckpointException refused(String why) {
      return new MalformedCheckpointException(
          "Cannot use model " + checkpoint.folder() + ": " + why);
    }
  }
}
