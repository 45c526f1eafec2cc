package ai.owl.spark.pipeline;

import ai.owl.calibration.Gram;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.SafetensorsFile;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.BlockLayout;
import ai.owl.model.LinearLayer;
import ai.owl.pipeline.OutputShard;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.InputPruner;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparseGpt;
import ai.owl.pruning.SparsityPattern;
import ai.owl.spark.metrics.WorkCounters;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import org.apache.spark.Partitioner;
import org.apache.spark.TaskContext;
import scala.Tuple2;

/**
 * The pruning of the linear layers of one block by their Gram matrices, a task for the layers that
 * read the same input and so have a matrix in common: its parts come by in order and are added up,
 * then the weights of one layer after the other are read, solved and written.
 *
 * @param block whose linear layers they are
 * @param patterns one a linear layer
 * @param parts where the solved weights go, one a linear layer
 * @param sequences number of calibration sequences
 * @param grams where the Gram matrices are kept, one a linear layer: those that share an input
 *     share the place; empty if they are not
 */
record SolveTask(
    ExecutorBlocks.Source source,
    BlockLayout block,
    Pruner pruner,
    List<SparsityPattern> patterns,
    List<OutputShard> parts,
    int sequences,
    List<String> grams)
    implements Serializable {

  /**
   * A linear layer that is done.
   *
   * @param number of the layer in the layout
   * @param weights where its weights stand now
   */
  record Solved(int number, TensorRef weights, PrunedLinear linear) implements Serializable {}

  /**
   * Sends the parts of an input's matrix to one task, which gets nothing else. The last inputs come
   * first: down_proj's is the widest and takes longest, and nobody should wait for it alone.
   */
  static final class ByInput extends Partitioner {
    private static final long serialVersionUID = 1;

    private final int inputs;

    ByInput(int inputs) {
      this.inputs = inputs;
    }

    @Override
    public int numPartitions() {
      return inputs;
    }

    @Override
    public int getPartition(Object key) {
      return inputs - 1 - ((GramKey) key).input();
    }
  }

  /** Solves the layers that read one input. */
  static Iterator<Solved> carryOut(
      SolveTask task, WorkCounters counters, Iterator<Tuple2<GramKey, float[]>> matrix)
      throws IOException {
    if (!matrix.hasNext()) {
      throw new IllegalStateException("No part of the Gram matrix arrived");
    }
    ExecutorBlocks.shareCpus(TaskContext.get());
    counters.productsBy(task.source().config().compute().implementationHere());
    Tuple2<GramKey, float[]> part = matrix.next();
    List<Integer> layers = task.block().readers(task.block().inputs().get(part._1().input()));
    int features = task.linear(layers.get(0)).inFeatures();
    try (Gram gram = new Gram(features)) {
      gram.addSequences(task.sequences());
      while (true) {
        int first = part._1().firstRow();
        gram.addRows(first, Math.min(GramParts.rows(features), features - first), part._2());
        if (!matrix.hasNext()) {
          break;
        }
        part = matrix.next();
      }
      if (!task.grams().isEmpty()) {
        task.keep(gram, task.grams().get(layers.get(0)));
      }
      return task.solve(layers, gram, counters).iterator();
    }
  }

  /** Solves the layers that read one input by its kept Gram matrix. */
  static Iterator<Solved> carryOutKept(SolveTask task, WorkCounters counters, int input)
      throws IOException, InterruptedException {
    ExecutorBlocks.shareCpus(TaskContext.get());
    counters.productsBy(task.source().config().compute().implementationHere());
    List<Integer> layers = task.block().readers(task.block().inputs().get(input));
    long bytes =
        layers.stream()
            .mapToLong(number -> SparseGpt.workingBytes(task.linear(number)))
            .max()
            .orElseThrow();
    int shares = ExecutorBlocks.matrixShares(bytes, Float.BYTES * task.block().prunableWeights());
    ExecutorBlocks.FLAT_JOB_MATRICES.acquire(shares);
    try {
      return task.solveKept(layers, counters).iterator();
    } finally {
      ExecutorBlocks.FLAT_JOB_MATRICES.release(shares);
    }
  }

  private List<Solved> solveKept(List<Integer> layers, WorkCounters counters) throws IOException {
    Storage storage = source.storage();
    try (TensorReader reader = new TensorReader(storage)) {
      String location = grams.get(layers.get(0));
      TensorRef kept = SafetensorsFile.open(storage, location).tensors().get(0);
      int features = linear(layers.get(0)).inFeatures();
      if (!kept.shape().equals(List.of((long) features, (long) features))) {
        throw new MalformedCheckpointException(
            "Cannot use the Gram matrix of "
                + kept.file()
                + ": its shape is "
                + kept.shape()
                + ", not "
                + List.of(features, features));
      }
      try (Gram gram = new Gram(reader.readMatrix(kept), sequences)) {
        return solve(layers, gram, counters);
      }
    }
  }

  private LinearLayer linear(int number) {
    return block.linears().get(number);
  }

  private void keep(Gram gram, String location) throws IOException {
    SafetensorsWriter.write(
        source.storage(),
        location,
        List.of(SafetensorsWriter.Entry.of("gram", DType.F32, gram.products())));
  }

  private List<Solved> solve(List<Integer> layers, Gram gram, WorkCounters counters)
      throws IOException {
    List<Solved> solved = new ArrayList<>();
    try (TensorReader reader = new TensorReader(source.storage());
        InputPruner ofInput = new InputPruner(pruner, Optional.of(gram))) {
      for (int number : layers) {
        LinearLayer linear = linear(number);
        try (Matrix weights = reader.readMatrix(linear.weight())) {
          PrunedLinear pruned = ofInput.prune(linear, weights, patterns.get(number));
          TensorRef written = parts.get(number).writeWeights(source.storage(), linear, weights);
          counters.removed(pruned.zeros());
          solved.add(new Solved(number, written, pruned));
        }
      }
    }
    return solved;
  }
}
