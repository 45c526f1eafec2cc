/**
 * The network: what a {@code config.json} describes ({@link ai.owl.model.ModelConfig}), in the
 * terms of an {@link ai.owl.model.Architecture}; where the weights of each decoder block are
 * ({@link ai.owl.model.ModelLayout}, {@link ai.owl.model.BlockLayout}); the forward pass of one
 * loaded block ({@link ai.owl.model.DecoderBlock}), which shows what enters its linear layers to an
 * {@link ai.owl.model.ActivationObserver}; and what stands before and after the blocks, for token
 * ids ({@link ai.owl.model.TokenEmbedding}, {@link ai.owl.model.LanguageModelHead}) and for images
 * ({@link ai.owl.model.PatchEmbedding}, {@link ai.owl.model.ClassificationHead}).
 */
package ai.owl.model;
