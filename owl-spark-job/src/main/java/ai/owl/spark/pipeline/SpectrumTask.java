package ai.owl.spark.pipeline;

import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Spectrum;
import ai.owl.model.BlockLayout;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.io.Serializable;
import org.apache.spark.TaskContext;

/**
 * The spectrum of one weight matrix, which is all that the task reads.
 *
 * @param blockWeights prunable weights of its block, by which memory is shared out
 */
record SpectrumTask(LinearLayer linear, long blockWeights) implements Serializable {
  static SpectrumTask of(BlockLayout block, LinearLayer linear) {
    return new SpectrumTask(linear, block.prunableWeights());
  }

  /** Does the work on an executor. */
  static Spectrum carryOut(ExecutorBlocks.Source source, SpectrumTask task)
      throws IOException, InterruptedException {
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    LinearLayer linear = task.linear();
    long bytes =
        Float.BYTES * linear.weight().elements()
            + Spectrum.workingBytes(linear.outFeatures(), linear.inFeatures());
    int shares = ExecutorBlocks.matrixShares(bytes, Float.BYTES * task.blockWeights());
    ExecutorBlocks.FLAT_JOB_MATRICES.acquire(shares);
    try (TensorReader reader = new TensorReader(source.storage());
        Matrix weight = reader.readMatrix(linear.weight())) {
      return Spectrum.of(weight);
    } finally {
      ExecutorBlocks.FLAT_JOB_MATRICES.release(shares);
    }
  }
}
