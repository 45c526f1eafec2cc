package ai.owl.spark.pipeline;

import ai.owl.calibration.BlockGrams;
import ai.owl.calibration.Gram;
import ai.owl.model.BlockLayout;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LinearInput;
import ai.owl.spark.metrics.WorkCounters;
import ai.owl.tensor.Matrix;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import org.apache.spark.TaskContext;
import org.apache.spark.util.TaskCompletionListener;
import scala.Tuple2;

/**
 * What one task observed of a block for its Hessians: the Gram matrices of its groups of sequences,
 * a group at a time, cut into rows. Made while it is asked for, so that one group's matrices are in
 * memory and not all.
 */
final class GramParts implements Iterator<Tuple2<GramKey, float[]>> {
  /** Floats of a part: few enough for any serializer's buffer. */
  private static final int PART = 1 << 20;

  private final ExecutorBlocks.Source source;
  private final BlockLayout layout;
  private final List<LinearInput> inputs;
  private final WorkCounters counters;
  private final Deque<List<SliceState>> groups = new ArrayDeque<>();
  private final Queue<GramKey> parts = new ArrayDeque<>();
  private BlockGrams grams = new BlockGrams();

  /**
   * @param states of this partition, whole groups in order
   */
  GramParts(
      ExecutorBlocks.Source source,
      BlockLayout layout,
      WorkCounters counters,
      Iterator<SliceState> states) {
    this.source = source;
    this.layout = layout;
    this.inputs = layout.inputs();
    this.counters = counters;
    while (states.hasNext()) {
      SliceState state = states.next();
      if (groups.isEmpty() || group(groups.getLast().get(0)) != group(state)) {
        groups.add(new ArrayList<>());
      }
      groups.getLast().add(state);
    }
    TaskContext.get().addTaskCompletionListener((TaskCompletionListener) task -> grams.close());
  }

  private static int group(SliceState state) {
    return state.index() / BlockGrams.GROUP;
  }

  @Override
  public boolean hasNext() {
    if (parts.isEmpty() && !groups.isEmpty()) {
      observe(groups.remove());
    }
    return !parts.isEmpty();
  }

  private void observe(List<SliceState> group) {
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    counters.productsBy(source.config().compute().implementationHere());
    grams.close();
    ForwardBuffers buffers = ExecutorBlocks.buffers(source);
    try (ExecutorBlocks.Lease block = ExecutorBlocks.dense(source, layout)) {
      for (SliceState state : group) {
        try (Matrix hidden = state.matrix()) {
          block.block().observe(hidden, buffers, grams);
          counters.throughBlock(hidden.rows());
        }
      }
    } finally {
      ExecutorBlocks.giveBack(source, buffers);
    }
    int number = group(group.get(0));
    for (int input = 0; input < inputs.size(); input++) {
      int features = grams.at(inputs.get(input)).features();
      for (int row = 0; row < features; row += rows(features)) {
        parts.add(new GramKey(input, row, number));
      }
    }
  }

  /** Rows of a part. */
  static int rows(int features) {
    return Math.max(1, Math.min(features, PART / features));
  }

  @Override
  public Tuple2<GramKey, float[]> next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    GramKey key = parts.remove();
    Gram gram = grams.at(inputs.get(key.input()));
    int rows = Math.min(rows(gram.features()), gram.features() - key.firstRow());
    return new Tuple2<>(key, gram.rows(key.firstRow(), rows));
  }
}
