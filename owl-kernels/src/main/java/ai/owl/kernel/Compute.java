package ai.owl.kernel;

import java.util.Locale;
import java.util.Optional;

/**
 * What the products of linear layers and of attention are computed in. Sums are float32 in both,
 * and so is all that lies between the products.
 */
public enum Compute {
  /**
   * Float32 weights times float32 activations. Where the processor multiplies tiles of bfloat16 in
   * hardware (AMX) and the weights are bfloat16, an activation is taken apart into three bfloat16
   * numbers whose sum it is, exactly; their products, which are exact in float32, are added up: as
   * accurate as a float32 product, and faster.
   */
  FLOAT32,

  /**
   * Bfloat16 weights times activations rounded to bfloat16: faster, and half of the memory for
   * weights. Weights of another type are sums of two bfloat16, and cost two products. Attention
   * rounds what it multiplies where that is faster ({@link Attention#scores(int, Compute)}). Norms
   * and Gram matrices are still of the activations before they are rounded.
   */
  BFLOAT16;

  /** What stands between the way and the instructions in {@link #implementationHere}. */
  public static final String ON = ", on ";

  /** The one that the command line calls {@code name}, if there is one. */
  public static Optional<Compute> parse(String name) {
    for (Compute compute : values()) {
      if (compute.toString().equals(name)) {
        return Optional.of(compute);
      }
    }
    return Optional.empty();
  }

  /** What this process makes of it, for people: the way and the library. */
  public String implementation() {
    if (piecesOfExact() > 0) {
      return this == FLOAT32
          ? "float32 as three bfloat16 pieces by " + OneDnn.name()
          : "bfloat16 by " + OneDnn.name();
    }
    double limit = SparseLimit.share();
    return "float32 by OpenBLAS"
        + (limit < 0
            ? ""
            : String.format(
                Locale.ROOT,
                ", skipping zeros where they are %.0f %% of a layer",
                100 - 100 * limit));
  }

  /**
   * The same with the processor's instructions: processes in which this is equal make the same bits
   * of the same products, as far as can be told.
   */
  public String implementationHere() {
    return implementation() + ON + Processor.instructions();
  }

  /**
   * What the user should know, if this process cannot compute as asked: it computes in float32
   * then.
   */
  public Optional<String> shortfall() {
    return this == BFLOAT16 && !OneDnn.hasBfloat16()
        ? Optional.of(
            "this processor has no bfloat16 products ("
                + OneDnn.name()
                + "): --compute bfloat16 computes in float32 here, no faster than without it")
        : Optional.empty();
  }

  /**
   * Into how many bfloat16 pieces an activation is taken apart for weights that bfloat16 holds
   * exactly; 0 if their products are float32's.
   */
  int piecesOfExact() {
    boolean hasThem = this == FLOAT32 ? OneDnn.hasTiles() : OneDnn.hasBfloat16();
    return hasThem ? mostPieces() : 0;
  }

  /** Whether this process makes products that skip zeros, of weights that are not packed. */
  boolean skipsZeros() {
    return piecesOfExact() == 0 && SparseLimit.share() >= 0;
  }

  /** Into how many an activation is taken apart on processors that have the products. */
  int mostPieces() {
    return this == FLOAT32 ? 3 : 1;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
