package ai.owl.spark.pipeline;

import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.PackedSequences;
import ai.owl.calibration.Samples;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.spark.metrics.WorkCounters;
import ai.owl.tensor.Matrix;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import org.apache.spark.TaskContext;

/**
 * What is done to every slice in one job: it runs through a block, or is only observed there, or
 * runs through a pruned block and is observed in the next.
 */
sealed interface Step extends Serializable {

  /** The block that can be read while the slices that enter it are embedded: the first. */
  default Optional<BlockLayout> entry() {
    return Optional.empty();
  }

  private static Optional<BlockLayout> ifFirst(BlockLayout block) {
    return block.index() == 0 ? Optional.of(block) : Optional.empty();
  }

  /** Through a dense block; {@code observe} says whether statistics are gathered on the way. */
  record Advance(BlockLayout block, boolean observe, List<BlockLayout> next) implements Step {
    @Override
    public Optional<BlockLayout> entry() {
      return ifFirst(block);
    }
  }

  /** Statistics of a dense block; the hidden states stay as they are. */
  record Observe(BlockLayout block) implements Step {
    @Override
    public Optional<BlockLayout> entry() {
      return ifFirst(block);
    }
  }

  /**
   * Through a pruned block.
   *
   * @param observeNext whether statistics of the dense block after it are gathered then
   * @param next the dense block after it, if there is one
   */
  record AdvancePruned(PrunedBlock block, boolean observeNext, List<BlockLayout> next)
      implements Step {}

  /** What all tasks of a step's job share. */
  record Work(ExecutorBlocks.Source source, Step step) implements Serializable {}

  /**
   * Carries out a step on the slices of one partition.
   *
   * <p>All of them before the first is handed on: if a lost partition is computed anew through
   * several steps, each step's block is free again before the next step asks for its own.
   *
   * @param samples that the slices are of
   */
  static Iterator<SliceState> carryOut(
      Work work, Samples samples, WorkCounters counters, Iterator<SliceState> states) {
    ExecutorBlocks.Source source = work.source();
    work.step().entry().ifPresent(block -> ExecutorBlocks.prefetch(source, block));
    List<SliceState> before = new ArrayList<>();
    states.forEachRemaining(before::add);
    ExecutorBlocks.useTaskCpus(TaskContext.get());
    counters.productsBy(source.config().compute().implementationHere());
    ForwardBuffers buffers = ExecutorBlocks.buffers(source);
    try {
      List<SliceState> after = new ArrayList<>();
      if (work.step() instanceof Advance step) {
        try (ExecutorBlocks.Lease block = ExecutorBlocks.dense(source, step.block())) {
          step.next().forEach(next -> ExecutorBlocks.prefetch(source, next));
          for (SliceState state : before) {
            BlockStatistics statistics = new BlockStatistics();
            ActivationObserver observer = step.observe() ? statistics : ActivationObserver.NONE;
            try (Matrix hidden = state.matrix()) {
              advance(block.block(), hidden, samples, state.index(), buffers, observer);
              after.add(SliceState.of(state.index(), hidden, statistics));
              counters.throughBlock(hidden.rows());
            }
          }
        }
      } else if (work.step() instanceof Observe step) {
        try (ExecutorBlocks.Lease block = ExecutorBlocks.dense(source, step.block())) {
          for (SliceState state : before) {
            BlockStatistics statistics = new BlockStatistics();
            try (Matrix hidden = state.matrix()) {
              block.block().observe(hidden, buffers, statistics);
              counters.throughBlock(hidden.rows());
            }
            after.add(new SliceState(state.index(), state.cols(), state.hidden(), statistics));
          }
        }
      } else if (work.step() instanceof AdvancePruned step) {
        try (ExecutorBlocks.Lease pruned =
            ExecutorBlocks.pruned(source, step.block(), step.next())) {
          for (SliceState state : before) {
            BlockStatistics statistics = new BlockStatistics();
            try (Matrix hidden = state.matrix()) {
              advance(
                  pruned.block(), hidden, samples, state.index(), buffers, ActivationObserver.NONE);
              if (step.observeNext()) {
                try (ExecutorBlocks.Lease next = ExecutorBlocks.dense(source, step.next().get(0))) {
                  next.block().observe(hidden, buffers, statistics);
                }
              }
              after.add(SliceState.of(state.index(), hidden, statistics));
              counters.throughBlock(hidden.rows());
            }
          }
        }
      }
      return after.iterator();
    } finally {
      ExecutorBlocks.giveBack(source, buffers);
    }
  }

  private static void advance(
      DecoderBlock block,
      Matrix hidden,
      Samples samples,
      int index,
      ForwardBuffers buffers,
      ActivationObserver observer) {
    if (samples instanceof PackedSequences packed) {
      block.advance(hidden, packed.packing(index), buffers, observer);
    } else {
      block.advance(hidden, buffers, observer);
    }
  }
}
