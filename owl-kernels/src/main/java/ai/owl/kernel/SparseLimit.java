package ai.owl.kernel;

import ai.owl.tensor.VectorUnit;
import java.util.List;

/**
 * How few of a layer's weights have to be other than zero for {@link SparseWeights} to be faster
 * than a dense product.
 *
 * <p>The two round differently, so that a pruned model's results depend on it as they do on the
 * kind of processor: machines of a run are to agree.
 */
final class SparseLimit {
  /**
   * The share of weights up to which zeros are skipped, in place of the processor's own: 0 makes
   * all products dense ones, as benchmarks and tests want that compare the two.
   */
  static final String PROPERTY = "owl.sparse.limit";

  /** Less than any share: no product is sparse. */
  static final double NEVER = -1;

  /**
   * Where vectors of 256 bits do as much in a second as the widest. As many multiply-adds of sparse
   * weights are made there as two thirds of those of a dense product: the two are even where 0.68
   * of the weights are left, and where more than 0.65 are, they do not fit into the place of all.
   */
  private static final double EVEN = 0.6;

  /**
   * Where a dense product has vectors twice as wide as a sparse one, which are even at 0.3 then.
   * That is so on processors without AVX-512, too: {@link VectorRows} takes half of what there is.
   */
  private static final double HALF = 0.25;

  private static final double OF_PROCESSOR =
      VectorUnit.isPresent() ? of(VectorUnit.bits(), Processor.lines()) : NEVER;

  private SparseLimit() {}

  /** The largest share of weights that may be left. */
  static double share() {
    String given = System.getProperty(PROPERTY);
    if (given == null || !VectorUnit.isPresent()) {
      return OF_PROCESSOR;
    }
    try {
      double share = Double.parseDouble(given);
      if (share >= 0 && share <= 1) {
        return share == 0 ? NEVER : share;
      }
    } catch (NumberFormatException e) {
      // the same complaint
    }
    throw new IllegalArgumentException(
        "Cannot use -D" + PROPERTY + "=" + given + ": it is no share from 0 to 1");
  }

  /**
   * That of a processor.
   *
   * @param bits of its widest vectors
   * @param processor lines "name : value", as Linux describes it; empty if it does not
   */
  static double of(int bits, List<String> processor) {
    // Zen 4 (family 25) carries out 512 bits in two halves; its successor does not.
    boolean halves =
        bits == 512
            && Processor.value(processor, "vendor_id").equals("AuthenticAMD")
            && Processor.value(processor, "cpu family").equals("25");
    return halves ? EVEN : HALF;
  }
}
