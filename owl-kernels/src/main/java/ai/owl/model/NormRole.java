package ai.owl.model;

/** Where in a transformer block something is normalized. */
public enum NormRole {
  /** The hidden states, on their way into attention; they themselves stay as they are. */
  ATTENTION_INPUT,
  /** The hidden states, on their way into the feed-forward part. */
  MLP_INPUT,
  /** What attention gives, before it is added to the hidden states. */
  ATTENTION_OUTPUT,
  /** What the feed-forward part gives, before it is added to the hidden states. */
  MLP_OUTPUT,
  /** The hidden states, after what attention gave was added to them. */
  ATTENTION_SUM,
  /** The hidden states, after what the feed-forward part gave was added to them. */
  MLP_SUM,
  /** Each head's queries, before they are rotated. */
  QUERY,
  /** Each head's keys, before they are rotated. */
  KEY
}
