package ai.owl.evaluation;

import java.io.Serializable;

/** How good a model is at what it was made for. */
public sealed interface Quality extends Serializable permits Accuracy, Perplexity {
  /** The number. */
  double value();

  /** What the number is called: {@code perplexity}, {@code accuracy}. */
  String name();

  /** What it was measured on, to follow the number in a sentence. */
  String basis();
}
