package ai.owl.model;

/** A tensor of a model outside its blocks that the forward pass needs; never pruned. */
public enum ModelPart {
  /** (vocab_size, embedding size): a row a token. */
  TOKEN_EMBEDDING,
  /** (offset + positions, hidden_size): a row a position. */
  POSITION_EMBEDDING,
  /** (hidden_size, embedding size): widens what {@link #TOKEN_EMBEDDING} gives. */
  PROJECT_IN,
  /** (hidden_size, num_channels · patch height · patch width): a convolution, seen as a matrix. */
  PATCH_PROJECTION,
  /** (hidden_size). */
  PATCH_BIAS,
  /** (1, hidden_size): stands before the patches, and is what the image is classified by. */
  CLASS_TOKEN,
  /** (embedding size, hidden_size): narrows what enters {@link #HEAD}. */
  PROJECT_OUT,
  /** (vocab_size, embedding size) of a language model, (labels, hidden_size) of a classifier. */
  HEAD,
  /** (labels). */
  HEAD_BIAS
}
