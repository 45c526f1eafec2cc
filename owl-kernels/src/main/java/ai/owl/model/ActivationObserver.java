package ai.owl.model;

import ai.owl.tensor.Matrix;

/** Sees what enters the linear layers of a block while a sequence runs through it. */
@FunctionalInterface
public interface ActivationObserver {
  /** Sees nothing. */
  ActivationObserver NONE = (input, x) -> {};

  /**
   * Called once per sequence and input.
   *
   * @param x (tokens, in_features); valid during the call only, and not to be changed
   */
  void observe(LinearInput input, Matrix x);
}
