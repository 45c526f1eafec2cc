package ai.owl.model;

/** A tensor of a model outside its blocks that the forward pass needs; never pruned. */
public enum ModelPart {
  /** (vocab_size, embedding size): a row a token. */
  TOKEN_EMBEDDING,
  /** (offset + max_position_embeddings, hidden_size): a row a position. */
  POSITION_EMBEDDING,
  /** (hidden_size, embedding size): widens what {@link #TOKEN_EMBEDDING} gives. */
  PROJECT_IN,
  /** (embedding size, hidden_size): narrows what enters {@link #HEAD}. */
  PROJECT_OUT,
  /** (vocab_size, embedding size): the language-model head. */
  HEAD
}
