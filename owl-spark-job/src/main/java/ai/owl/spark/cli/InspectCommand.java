package ai.owl.spark.cli;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.BlockLayout;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LinearLayer;
import ai.owl.model.ModelConfig;
import ai.owl.model.ModelLayout;
import ai.owl.model.PatchGrid;
import ai.owl.spark.storage.HadoopStorage;
import java.util.Collections;
import java.util.Locale;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code owl inspect}: what a checkpoint is, from its headers alone. */
@Command(
    name = "inspect",
    description = "Shows what a checkpoint is and whether it can be pruned, reading headers only.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class InspectCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "URI",
      description = "Folder of the checkpoint, pruned or not.")
  private String model;

  @Override
  public Integer call() throws Exception {
    // Reading headers needs Spark's settings of file systems, but no cluster.
    Storage storage = new HadoopStorage(SparkHadoopUtil.get().newConfiguration(new SparkConf()));
    Checkpoint checkpoint = Checkpoint.open(storage, model);
    ModelLayout layout = ModelLayout.of(checkpoint);
    ModelConfig config = layout.config();
    TreeMap<String, Long> types = new TreeMap<>();
    long parameters = 0;
    long bytes = 0;
    for (TensorRef tensor : checkpoint.tensors().values()) {
      types.merge(tensor.type().name(), 1L, Long::sum);
      parameters += tensor.elements();
      bytes += tensor.bytes();
    }
    long files = checkpoint.tensors().values().stream().map(TensorRef::file).distinct().count();
    line("architecture       %s", config.architecture().className());
    line("blocks             %d", config.blocks());
    line(
        "hidden size        %d, intermediate size %d",
        config.hiddenSize(), config.intermediateSize());
    line(
        "attention          %d heads of %d, %d key/value heads%s",
        config.heads(), config.headDim(), config.keyValueHeads(), windows(config));
    line("positions          %s, made for %d", config.positions().label(), config.maxPositions());
    for (PatchGrid grid : config.patches()) {
      line(
          "images             %d x %d x %d, in %d patches",
          grid.channels(), grid.imageHeight(), grid.imageWidth(), grid.patches());
    }
    line(
        config.readsImages() ? "labels             %d%s" : "vocabulary         %d%s",
        config.readsImages() ? config.labels().size() : config.vocabSize(),
        config.tiedEmbeddings() ? ", tied head" : "");
    line("parameters         %,d, of them %,d prunable", parameters, layout.prunableWeights());
    line(
        "stored             %,d bytes in %d %s: %s",
        bytes,
        files,
        files == 1 ? "file" : "files",
        types.entrySet().stream()
            .map(type -> type.getValue() + " tensors in " + type.getKey())
            .collect(Collectors.joining(", ")));
    line("can be pruned      yes");
    line("");
    line("a block's linear layers (out x in):");
    BlockLayout first = layout.blocks().get(0);
    for (LinearLayer linear : first.linears()) {
      line(
          "  %-25s %6d x %-6d %s%s",
          linear.path(),
          linear.outFeatures(),
          linear.inFeatures(),
          linear.weight().type(),
          linear.bias().isEmpty() ? "" : ", bias");
    }
    line("");
    long block =
        4 * layout.blocks().stream().mapToLong(BlockLayout::prunableWeights).max().orElse(0);
    line(
        "memory of a run: %s for a block as float32, and for each sequence of 2048 tokens",
        mib(block));
    line(
        "  %s of hidden states, and %s of buffers while it is worked on",
        mib(2048L * config.hiddenSize() * 4), mib(ForwardBuffers.bytes(config, 2048)));
    return Main.DONE;
  }

  private static String windows(ModelConfig config) {
    long with = config.slidingWindows().stream().filter(window -> window > 0).count();
    if (with == 0) {
      return "";
    }
    int window = Collections.max(config.slidingWindows());
    return ", sliding window "
        + window
        + (with == config.blocks() ? "" : " in " + with + " blocks");
  }

  /** A line about a model. */
  static String summary(String model, ModelLayout layout) {
    return String.format(
        Locale.ROOT,
        "%s: %s, %d blocks, %,d prunable weights",
        model,
        layout.config().architecture().className(),
        layout.blocks().size(),
        layout.prunableWeights());
  }

  private static String mib(long bytes) {
    return String.format(Locale.ROOT, "%.1f MiB", bytes / 1048576.0);
  }

  private static void line(String format, Object... values) {
    System.out.println(String.format(Locale.ROOT, format, values));
  }
}
