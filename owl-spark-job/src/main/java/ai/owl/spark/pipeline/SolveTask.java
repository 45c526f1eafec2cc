package ai.owl.spark.pipeline;

import ai.owl.calibration.Gram;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.SafetensorsFile;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.LinearLayer;
import ai.owl.pipeline.OutputShard;
import ai.owl.pruning.BlockPruner;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import ai.owl.spark.metrics.WorkCounters;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.io.Serializable;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import org.apache.spark.Partitioner;
import org.apache.spark.TaskContext;
import scala.Tuple2;

/**
 * The pruning of the linear layers of one block by their Gram matrices, a layer a task: the parts
 * of its matrix come by in order and are added up, then its weights are read, solved and written.
 *
 * @param linears the block's, in the layout's order
 * @param patterns one a linear layer
 * @param parts where the solved weights go, one a linear layer
 * @param sequences number of calibration sequences
 * @param grams where the Gram matrices are kept, one a linear layer: those that share an input
 *     share the place; empty if they are not
 */
record SolveTask(
    ExecutorBlocks.Source source,
    List<LinearLayer> linears,
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
   * Sends the parts of a linear layer's matrix to one task, which gets nothing else. The last
   * layers come first: down_proj is the widest and takes longest, and nobody should wait for it
   * alone.
   */
  static final class ByLinear extends Partitioner {
    private static final long serialVersionUID = 1;

    private final int linears;

    ByLinear(int linears) {
      this.linears = linears;
    }

    @Override
    public int numPartitions() {
      return linears;
    }

    @Override
    public int getPartition(Object key) {
      return linears - 1 - ((GramKey) key).linear();
    }
  }

  /** Solves one linear layer. */
  static Iterator<Solved> carryOut(
      SolveTask task, WorkCounters counters, Iterator<Tuple2<GramKey, float[]>> matrix)
      throws IOException {
    if (!matrix.hasNext()) {
      throw new IllegalStateException("No part of the Gram matrix arrived");
    }
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    Tuple2<GramKey, float[]> part = matrix.next();
    int number = part._1().linear();
    int features = task.linears().get(number).inFeatures();
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
      if (!task.grams().isEmpty() && task.grams().indexOf(task.grams().get(number)) == number) {
        task.keep(gram, task.grams().get(number));
      }
      return List.of(task.solve(number, gram, counters)).iterator();
    }
  }

  /** Solves one linear layer by its kept Gram matrix. */
  static Solved carryOutKept(SolveTask task, WorkCounters counters, int number) throws IOException {
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    Storage storage = task.source().storage();
    try (TensorReader reader = new TensorReader(storage)) {
      TensorRef kept = SafetensorsFile.open(storage, task.grams().get(number)).tensors().get(0);
      int features = task.linears().get(number).inFeatures();
      if (!kept.shape().equals(List.of((long) features, (long) features))) {
        throw new MalformedCheckpointException(
            "Cannot use the Gram matrix of "
                + kept.file()
                + ": its shape is "
                + kept.shape()
                + ", not "
                + List.of(features, features));
      }
      try (Gram gram = new Gram(reader.readMatrix(kept), task.sequences())) {
        return task.solve(number, gram, counters);
      }
    }
  }

  private void keep(Gram gram, String location) throws IOException {
    SafetensorsWriter.write(
        source.storage(),
        location,
        List.of(SafetensorsWriter.Entry.of("gram", DType.F32, gram.products())));
  }

  private Solved solve(int number, Gram gram, WorkCounters counters) throws IOException {
    LinearLayer linear = linears.get(number);
    try (TensorReader reader = new TensorReader(source.storage());
        Matrix weights = reader.readMatrix(linear.weight())) {
      PrunedLinear pruned =
          BlockPruner.prune(linear, weights, pruner, Optional.of(gram), patterns.get(number));
      TensorRef written = parts.get(number).writeWeights(source.storage(), linear, weights);
      counters.removed(pruned.zeros());
      return new Solved(number, written, pruned);
    }
  }
}
