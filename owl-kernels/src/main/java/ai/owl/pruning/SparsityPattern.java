package ai.owl.pruning;

import java.io.Serializable;

/** Where in a matrix the zeros may stand, and how many there are to be. */
public sealed interface SparsityPattern extends Serializable {
  /** The share of weights to remove, in [0, 1). */
  double sparsity();

  /**
   * The same pattern with another share.
   *
   * @throws IllegalArgumentException if the pattern cannot have that share
   */
  SparsityPattern at(double sparsity);

  /** The name that the command line uses: {@code unstructured}, {@code 2:4}. */
  String label();

  /** Zeros anywhere. */
  record Unstructured(double sparsity) implements SparsityPattern {
    public Unstructured {
      if (!(sparsity >= 0 && sparsity < 1)) {
        throw new IllegalArgumentException(
            "Cannot use --sparsity "
                + sparsity
                + ": it is the share of weights to remove and must be in [0, 1)");
      }
    }

    @Override
    public SparsityPattern at(double share) {
      return new Unstructured(share);
    }

    @Override
    public String label() {
      return "unstructured";
    }
  }

  /**
   * At most {@code kept} weights of every {@code of} consecutive columns of a row. Named by what is
   * kept, as hardware names it: 2:4 keeps 2 of 4. (The pruning papers' code counts zeros: its 5:8
   * is 3:8 here.)
   */
  record NofM(int kept, int of) implements SparsityPattern {
    public NofM {
      if (of < 2 || of > 128 || kept < 1 || kept > of) {
        throw new IllegalArgumentException(
            "Cannot use --pattern "
                + kept
                + ":"
                + of
                + ": it keeps N of M consecutive weights, with 1 <= N <= M and 2 <= M <= 128");
      }
    }

    @Override
    public double sparsity() {
      return (double) (of - kept) / of;
    }

    @Override
    public NofM at(double share) {
      double exact = of * (1 - share);
      long rounded = Math.round(exact);
      if (Math.abs(exact - rounded) > 1e-6) {
        throw new IllegalArgumentException(
            "Cannot prune to "
                + share
                + " with groups of "
                + of
                + ": that would keep "
                + exact
                + " of every "
                + of
                + " weights");
      }
      return new NofM((int) rounded, of);
    }

    @Override
    public String label() {
      return kept + ":" + of;
    }
  }
}
