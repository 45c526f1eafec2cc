package ai.owl.spark.pipeline;

import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.BlockLayout;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.ModelLayout;
import ai.owl.model.TokenEmbedding;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.storage.StorageLevel;
import scala.Tuple2;

/**
 * The hidden states of all slices, between two blocks. They live on the executors, in memory or on
 * their disks; the driver holds the handle, moves them on step by step, and sees statistics only.
 */
final class HiddenStates implements AutoCloseable {
  /** Sequences whose embeddings are looked up together, since they share most of the rows. */
  private static final int EMBEDDED_TOGETHER = 8;

  private final JavaSparkContext spark;
  private final ExecutorBlocks.Source source;
  private final List<Broadcast<?>> broadcasts = new ArrayList<>();
  private JavaRDD<SliceState> states;
  private boolean persisted;

  private HiddenStates(
      JavaSparkContext spark, ExecutorBlocks.Source source, JavaRDD<SliceState> states) {
    this.spark = spark;
    this.source = source;
    this.states = states;
  }

  /** What the tasks that embed or score need. */
  record ModelWork(ExecutorBlocks.Source source, ModelLayout model) implements Serializable {}

  /**
   * The states that enter the first block. Nothing runs before the first step.
   *
   * @param group so many consecutive sequences are always in the same task
   */
  static HiddenStates embed(
      JavaSparkContext spark,
      ExecutorBlocks.Source source,
      ModelLayout model,
      TokenSequences sequences,
      int group,
      int partitions) {
    List<ArrayList<Slice>> groups = new ArrayList<>();
    for (int i = 0; i < sequences.count(); i++) {
      if (i % group == 0) {
        groups.add(new ArrayList<>());
      }
      groups.get(i / group).add(new Slice(i, sequences.sequence(i)));
    }
    Broadcast<Object> work = spark.broadcast(new ModelWork(source, model.withoutBlocks()));
    JavaRDD<SliceState> embedded =
        spark
            .parallelize(groups, Math.min(partitions, groups.size()))
            .flatMap(ArrayList::iterator)
            .mapPartitions(part -> embed((ModelWork) work.value(), part));
    HiddenStates hidden = new HiddenStates(spark, source, embedded.setName("embeddings"));
    hidden.broadcasts.add(work);
    return hidden;
  }

  private static Iterator<SliceState> embed(ModelWork work, Iterator<Slice> slices)
      throws IOException {
    List<SliceState> states = new ArrayList<>();
    try (TensorReader reader = new TensorReader(work.source().storage())) {
      while (slices.hasNext()) {
        List<Slice> group = new ArrayList<>();
        while (slices.hasNext() && group.size() < EMBEDDED_TOGETHER) {
          group.add(slices.next());
        }
        List<Matrix> hidden =
            TokenEmbedding.embed(work.model(), group.stream().map(Slice::ids).toList(), reader);
        for (int i = 0; i < group.size(); i++) {
          try (Matrix matrix = hidden.get(i)) {
            states.add(SliceState.of(group.get(i), matrix, new BlockStatistics()));
          }
        }
      }
    }
    return states.iterator();
  }

  /**
   * Moves all slices on by one step.
   *
   * @param description what the job is called in Spark's pages
   * @return the statistics gathered, merged in the order of the slices
   */
  BlockStatistics step(String description, Step step) {
    Broadcast<Object> work = spark.broadcast(new Step.Work(source, step));
    broadcasts.add(work);
    JavaRDD<SliceState> before = states;
    boolean wasPersisted = persisted;
    states =
        before
            .mapPartitions(part -> Step.carryOut((Step.Work) work.value(), part))
            .setName(description)
            .persist(StorageLevel.MEMORY_AND_DISK());
    persisted = true;
    spark.setLocalProperty("spark.job.description", description);
    BlockStatistics merged = new BlockStatistics();
    for (BlockStatistics slice : states.map(SliceState::statistics).collect()) {
      merged.merge(slice);
    }
    if (wasPersisted) {
      before.unpersist(false);
    }
    return merged;
  }

  /**
   * Prunes the linear layers of a block by the Gram matrices of what reaches it; the states stay
   * where they are. The sequences must have been cut into groups of {@link
   * ai.owl.calibration.BlockGrams#GROUP}.
   *
   * @return one a linear layer, in the layout's order
   */
  List<SolveTask.Solved> solve(String description, BlockLayout block, SolveTask task) {
    Broadcast<Object> work = spark.broadcast(task);
    Broadcast<Object> layout = spark.broadcast(block);
    broadcasts.add(work);
    broadcasts.add(layout);
    spark.setLocalProperty("spark.job.description", description);
    return states
        .mapPartitionsToPair(
            part ->
                new GramParts(
                    ((SolveTask) work.value()).source(), (BlockLayout) layout.value(), part))
        .repartitionAndSortWithinPartitions(new SolveTask.ByLinear(task.linears().size()))
        .mapPartitions(
            (FlatMapFunction<Iterator<Tuple2<GramKey, float[]>>, SolveTask.Solved>)
                parts -> SolveTask.carryOut((SolveTask) work.value(), parts))
        .collect();
  }

  /** The mean next-token loss of every slice, in order, after the last block. */
  double[] losses(String description, ModelLayout model) {
    Broadcast<Object> work = spark.broadcast(new ModelWork(source, model.withoutBlocks()));
    broadcasts.add(work);
    spark.setLocalProperty("spark.job.description", description);
    List<Double> losses =
        states.mapPartitions(part -> losses((ModelWork) work.value(), part)).collect();
    return losses.stream().mapToDouble(Double::doubleValue).toArray();
  }

  private static Iterator<Double> losses(ModelWork work, Iterator<SliceState> states)
      throws IOException {
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    List<Matrix> hidden = new ArrayList<>();
    List<int[]> ids = new ArrayList<>();
    try (TensorReader reader = new TensorReader(work.source().storage())) {
      while (states.hasNext()) {
        SliceState state = states.next();
        hidden.add(state.matrix());
        ids.add(state.slice().ids());
      }
      List<Double> losses = new ArrayList<>();
      for (double loss : LanguageModelHead.losses(work.model(), hidden, ids, reader)) {
        losses.add(loss);
      }
      return losses.iterator();
    } finally {
      hidden.forEach(Matrix::close);
    }
  }

  @Override
  public void close() {
    if (persisted) {
      states.unpersist(false);
    }
    broadcasts.forEach(broadcast -> broadcast.destroy());
  }
}
