package ai.owl.spark.pipeline;

import ai.owl.calibration.Gram;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.LinearLayer;
import ai.owl.pipeline.OutputShard;
import ai.owl.pruning.BlockPruner;
import ai.owl.pruning.BlockPruner.PrunedLinear;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
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
 */
record SolveTask(
    ExecutorBlocks.Source source,
    List<LinearLayer> linears,
    Pruner pruner,
    List<SparsityPattern> patterns,
    List<OutputShard> parts,
    int sequences)
    implements Serializable {

  /**
   * A linear layer that is done.
   *
   * @param weights where its weights stand now
   */
  record Solved(TensorRef weights, PrunedLinear linear) implements Serializable {}

  /** Sends the parts of a linear layer's matrix to one task, which gets nothing else. */
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
      return ((GramKey) key).linear();
    }
  }

  /** Solves one linear layer. */
  static Iterator<Solved> carryOut(SolveTask task, Iterator<Tuple2<GramKey, float[]>> matrix)
      throws IOException {
    if (!matrix.hasNext()) {
      throw new IllegalStateException("No part of the Gram matrix arrived");
    }
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    Tuple2<GramKey, float[]> part = matrix.next();
    int number = part._1().linear();
    LinearLayer linear = task.linears().get(number);
    int features = linear.inFeatures();
    try (Gram gram = new Gram(features);
        TensorReader reader = new TensorReader(task.source().storage())) {
      gram.addSequences(task.sequences());
      while (true) {
        int first = part._1().firstRow();
        gram.addRows(first, Math.min(GramParts.rows(features), features - first), part._2());
        if (!matrix.hasNext()) {
          break;
        }
        part = matrix.next();
      }
      try (Matrix weights = reader.readMatrix(linear.weight())) {
        PrunedLinear pruned =
            BlockPruner.prune(
                linear, weights, task.pruner(), Optional.of(gram), task.patterns().get(number));
        TensorRef written =
            task.parts().get(number).writeWeights(task.source().storage(), linear, weights);
        return List.of(new Solved(written, pruned)).iterator();
      }
    }
  }
}
