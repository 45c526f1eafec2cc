package ai.owl.spark.pipeline;

import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ImageSamples;
import ai.owl.calibration.PackedSequences;
import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.SafetensorsFile;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.Storage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.evaluation.AccuracyEvaluator;
import ai.owl.image.ImageFolder.LabelledImage;
import ai.owl.model.ClassificationHead;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.ModelLayout;
import ai.owl.spark.metrics.WorkCounters;
import ai.owl.tensor.DType;
import ai.owl.tensor.Matrix;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
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
  private final Broadcast<Object> shared; // a ModelWork
  private final WorkCounters counters;
  private final List<Broadcast<?>> broadcasts = new ArrayList<>();
  private JavaRDD<SliceState> states;
  private boolean persisted;

  private HiddenStates(
      JavaSparkContext spark,
      ExecutorBlocks.Source source,
      Broadcast<Object> shared,
      WorkCounters counters,
      JavaRDD<SliceState> states) {
    this.spark = spark;
    this.source = source;
    this.shared = shared;
    this.counters = counters;
    this.states = states;
    broadcasts.add(shared);
  }

  /** What all tasks need, whatever they do. */
  record ModelWork(ExecutorBlocks.Source source, ModelLayout model, Samples samples)
      implements Serializable {}

  /**
   * The states that enter the first block. Nothing runs before the first step.
   *
   * @param group so many consecutive samples are always in the same task
   */
  static HiddenStates embed(
      JavaSparkContext spark,
      ExecutorBlocks.Source source,
      ModelLayout model,
      Samples samples,
      int group,
      int partitions,
      WorkCounters counters) {
    List<Integer> groups = groups(samples.count(), group);
    Broadcast<Object> work = spark.broadcast(new ModelWork(source, model.withoutBlocks(), samples));
    JavaRDD<SliceState> embedded =
        spark
            .parallelize(groups, Math.min(partitions, groups.size()))
            .mapPartitions(part -> embed((ModelWork) work.value(), group, part));
    return new HiddenStates(spark, source, work, counters, embedded.setName("embeddings"));
  }

  /**
   * The states that an earlier run has kept.
   *
   * @param folder where they are
   */
  static HiddenStates kept(
      JavaSparkContext spark,
      ExecutorBlocks.Source source,
      ModelLayout model,
      Samples samples,
      int group,
      int partitions,
      WorkCounters counters,
      String folder) {
    HiddenStates hidden = embed(spark, source, model, samples, group, partitions, counters);
    hidden.readFrom(folder, group, partitions);
    return hidden;
  }

  /** From here on the states are those in the folder, however they came about. */
  private void readFrom(String folder, int group, int partitions) {
    Broadcast<Object> work = shared;
    int samples = ((ModelWork) shared.value()).samples().count();
    List<Integer> groups = groups(samples, group);
    states =
        spark
            .parallelize(groups, Math.min(partitions, groups.size()))
            .mapPartitions(part -> read((ModelWork) work.value(), folder, group, part))
            .setName("kept hidden states")
            .persist(StorageLevel.MEMORY_AND_DISK());
    persisted = true;
  }

  private static Iterator<SliceState> read(
      ModelWork work, String folder, int group, Iterator<Integer> groups) throws IOException {
    List<SliceState> states = new ArrayList<>();
    Storage storage = work.source().storage();
    try (TensorReader reader = new TensorReader(storage)) {
      while (groups.hasNext()) {
        int first = groups.next();
        for (int i = first; i < Math.min(work.samples().count(), first + group); i++) {
          TensorRef kept = SafetensorsFile.open(storage, sample(folder, i)).tensors().get(0);
          try (Matrix hidden = reader.readMatrix(kept)) {
            states.add(SliceState.of(i, hidden, new BlockStatistics()));
          }
        }
      }
    }
    return states.iterator();
  }

  /**
   * One of the states that an earlier run has kept which cannot be used, if there is any: it is
   * missing, cut off, or of something else.
   *
   * @param samples how many there should be
   * @param folder where they are
   */
  static Optional<String> unusable(
      JavaSparkContext spark,
      ExecutorBlocks.Source source,
      int samples,
      int group,
      int partitions,
      String folder) {
    Broadcast<Object> shared = spark.broadcast(source);
    List<Integer> groups = groups(samples, group);
    spark.setLocalProperty("spark.job.description", "look at the kept hidden states");
    try {
      return spark
          .parallelize(groups, Math.min(partitions, groups.size()))
          .flatMap(
              first ->
                  unusable(
                          (ExecutorBlocks.Source) shared.value(),
                          folder,
                          first,
                          Math.min(samples, first + group))
                      .iterator())
          .collect()
          .stream()
          .min(Comparator.naturalOrder());
    } finally {
      shared.destroy();
    }
  }

  private static List<String> unusable(
      ExecutorBlocks.Source source, String folder, int first, int end) throws IOException {
    List<String> unusable = new ArrayList<>();
    for (int i = first; i < end; i++) {
      String location = sample(folder, i);
      try {
        List<TensorRef> tensors = SafetensorsFile.open(source.storage(), location).tensors();
        if (tensors.size() != 1
            || tensors.get(0).type() != DType.F32
            || tensors.get(0).shape().size() != 2
            || tensors.get(0).shape().get(1) != source.config().hiddenSize()) {
          unusable.add(location);
        }
      } catch (FileNotFoundException | EOFException | MalformedCheckpointException damaged) {
        unusable.add(location);
      }
    }
    return unusable;
  }

  private static String sample(String folder, int index) {
    return Storage.resolve(
        folder, String.format(Locale.ROOT, "hidden-states-%06d.safetensors", index));
  }

  /**
   * Writes all states to a folder, and goes on from there: what is lost after that is read again,
   * and not computed anew from the embeddings.
   */
  void keep(String description, String folder, int group, int partitions) {
    Broadcast<Object> work = shared;
    JavaRDD<SliceState> before = states;
    boolean wasPersisted = persisted;
    spark.setLocalProperty("spark.job.description", description);
    before.foreachPartition(
        part -> {
          Storage storage = ((ModelWork) work.value()).source().storage();
          while (part.hasNext()) {
            SliceState state = part.next();
            try (Matrix hidden = state.matrix()) {
              SafetensorsWriter.write(
                  storage,
                  sample(folder, state.index()),
                  List.of(SafetensorsWriter.Entry.of("hidden_states", DType.F32, hidden)));
            }
          }
        });
    readFrom(folder, group, partitions);
    if (wasPersisted) {
      before.unpersist(false);
    }
  }

  private static List<Integer> groups(int samples, int group) {
    List<Integer> groups = new ArrayList<>();
    for (int first = 0; first < samples; first += group) {
      groups.add(first);
    }
    return groups;
  }

  private static Iterator<SliceState> embed(ModelWork work, int group, Iterator<Integer> groups)
      throws IOException {
    List<SliceState> states = new ArrayList<>();
    int first = -1; // of consecutive samples that are embedded together
    int end = -1;
    try (TensorReader reader = new TensorReader(work.source().storage())) {
      while (groups.hasNext()) {
        int next = groups.next();
        if (next != end || end - first >= EMBEDDED_TOGETHER) {
          embed(work, first, end, reader, states);
          first = next;
        }
        end = Math.min(work.samples().count(), next + group);
      }
      embed(work, first, end, reader, states);
    }
    return states.iterator();
  }

  private static void embed(
      ModelWork work, int first, int end, TensorReader reader, List<SliceState> states)
      throws IOException {
    if (first < 0) {
      return;
    }
    List<Matrix> hidden = work.samples().embed(work.model(), first, end, reader);
    for (int i = first; i < end; i++) {
      try (Matrix matrix = hidden.get(i - first)) {
        states.add(SliceState.of(i, matrix, new BlockStatistics()));
      }
    }
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
    Broadcast<Object> common = shared; // what a task carries along is no field
    WorkCounters counted = counters;
    JavaRDD<SliceState> before = states;
    boolean wasPersisted = persisted;
    states =
        before
            .mapPartitions(
                part ->
                    Step.carryOut(
                        (Step.Work) work.value(),
                        ((ModelWork) common.value()).samples(),
                        counted,
                        part))
            .setName(description)
            .persist(StorageLevel.MEMORY_AND_DISK());
    persisted = true;
    spark.setLocalProperty("spark.job.description", description);
    ExecutorBlocks.tellCluster(spark);
    BlockStatistics merged = new BlockStatistics();
    for (BlockStatistics slice : states.map(SliceState::statistics).collect()) {
      merged.merge(slice);
    }
    counters.blockDone();
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
  List<SolveTask.Solved> solve(String description, SolveTask task) {
    Broadcast<Object> work = spark.broadcast(task);
    broadcasts.add(work);
    WorkCounters counted = counters;
    spark.setLocalProperty("spark.job.description", description);
    ExecutorBlocks.tellCluster(spark);
    List<SolveTask.Solved> solved =
        new ArrayList<>(
            states
                .mapPartitionsToPair(
                    part ->
                        new GramParts(
                            ((SolveTask) work.value()).source(),
                            ((SolveTask) work.value()).block(),
                            counted,
                            part))
                .repartitionAndSortWithinPartitions(
                    new SolveTask.ByInput(task.block().inputs().size()))
                .mapPartitions(
                    (FlatMapFunction<Iterator<Tuple2<GramKey, float[]>>, SolveTask.Solved>)
                        parts -> SolveTask.carryOut((SolveTask) work.value(), counted, parts))
                .collect());
    counters.blockDone();
    solved.sort(Comparator.comparingInt(SolveTask.Solved::number));
    return solved;
  }

  /**
   * How well every sample is predicted, in order, after the last block: the mean next-token loss of
   * a text; of an image, 1 if its label is the likeliest and 0 if not.
   */
  double[] scores(String description) {
    Broadcast<Object> work = shared;
    spark.setLocalProperty("spark.job.description", description);
    ExecutorBlocks.tellCluster(spark);
    List<Double> scores =
        states.mapPartitions(part -> scores((ModelWork) work.value(), part)).collect();
    return scores.stream().mapToDouble(Double::doubleValue).toArray();
  }

  private static Iterator<Double> scores(ModelWork work, Iterator<SliceState> states)
      throws IOException {
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    List<Matrix> hidden = new ArrayList<>();
    List<Integer> indices = new ArrayList<>();
    try (TensorReader reader = new TensorReader(work.source().storage())) {
      while (states.hasNext()) {
        SliceState state = states.next();
        hidden.add(state.matrix());
        indices.add(state.index());
      }
      List<Double> scores = new ArrayList<>();
      if (work.samples() instanceof TokenSequences tokens) {
        List<int[]> ids = indices.stream().map(tokens::sequence).toList();
        for (double loss : LanguageModelHead.losses(work.model(), hidden, ids, reader)) {
          scores.add(loss);
        }
      } else {
        List<LabelledImage> images = ((ImageSamples) work.samples()).folder().images();
        float[][] logits = ClassificationHead.logits(work.model(), hidden, reader);
        for (int i = 0; i < logits.length; i++) {
          LabelledImage image = images.get(indices.get(i));
          scores.add(AccuracyEvaluator.likeliest(logits[i], image) == image.label() ? 1.0 : 0.0);
        }
      }
      return scores.iterator();
    } finally {
      hidden.forEach(Matrix::close);
    }
  }

  /**
   * The log-probabilities of what {@link PackedSequences} predict, after the last block.
   *
   * @return for every batch, in order, those of its predictions
   */
  List<double[]> logProbabilities(String description) {
    Broadcast<Object> work = shared;
    spark.setLocalProperty("spark.job.description", description);
    ExecutorBlocks.tellCluster(spark);
    return states.mapPartitions(part -> logProbabilities((ModelWork) work.value(), part)).collect();
  }

  private static Iterator<double[]> logProbabilities(ModelWork work, Iterator<SliceState> states)
      throws IOException {
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    PackedSequences sequences = (PackedSequences) work.samples();
    List<Matrix> predicting = new ArrayList<>();
    List<int[]> sources = new ArrayList<>();
    List<int[]> targets = new ArrayList<>();
    try (TensorReader reader = new TensorReader(work.source().storage())) {
      while (states.hasNext()) {
        SliceState state = states.next();
        // One batch whole at a time: of most of its rows nothing is asked any more.
        try (Matrix hidden = state.matrix()) {
          predicting.add(sequences.predicting(state.index(), hidden));
        }
        sources.add(sequences.sources(state.index()));
        targets.add(sequences.targets(state.index()));
      }
      return LanguageModelHead.logProbabilities(work.model(), predicting, sources, targets, reader)
          .iterator();
    } finally {
      predicting.forEach(Matrix::close);
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
