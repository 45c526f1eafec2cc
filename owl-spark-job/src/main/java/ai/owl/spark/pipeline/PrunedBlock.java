package ai.owl.spark.pipeline;

import ai.owl.calibration.BlockStatistics;
import ai.owl.model.BlockLayout;
import ai.owl.pruning.Pruner;
import ai.owl.pruning.SparsityPattern;
import java.io.Serializable;
import java.util.List;

/**
 * How to prune a block: everything a task needs besides the weights, which it reads itself. The
 * result is the same wherever it is carried out.
 *
 * @param statistics of the block's inputs; without any for pruners that need none
 * @param patterns one a linear layer, in the layout's order
 */
record PrunedBlock(
    BlockLayout layout, Pruner pruner, BlockStatistics statistics, List<SparsityPattern> patterns)
    implements Serializable {}
